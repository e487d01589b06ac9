#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmgc_fuzz::files::salvage(data));
