#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::models::config("xlm-roberta"));
