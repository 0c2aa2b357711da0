#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::models::legacy(("minilm", "vocab.txt")));
