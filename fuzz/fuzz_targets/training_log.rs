#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmgc_fuzz::report::training_log(data));
