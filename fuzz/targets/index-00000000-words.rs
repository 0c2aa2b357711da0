#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::files::index("00000000.words"));
