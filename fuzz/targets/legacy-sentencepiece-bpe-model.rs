#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::models::legacy(("xlm-roberta", "sentencepiece.bpe.model")));
