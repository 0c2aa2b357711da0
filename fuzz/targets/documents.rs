#![no_main]
spanqa_fuzz::fuzz!(spanqa_fuzz::data::documents());
