#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::files::index("index.json"));
