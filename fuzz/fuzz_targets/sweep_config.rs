#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmgc_fuzz::sweep::sweep_config(data));
