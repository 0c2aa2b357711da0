#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::models::legacy(("minilm", "tokenizer_config.json")));
