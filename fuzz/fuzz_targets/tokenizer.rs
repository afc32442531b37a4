#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(
    // The tokenizers crate panics on some vocabularies, which its reader catches.
    // The fuzzer would stop there; without its hook it stops at what nobody catches.
    init: std::panic::set_hook(Box::new(|_| ())),
    |bytes: &[u8]| targets::run("tokenizer", bytes)
);
