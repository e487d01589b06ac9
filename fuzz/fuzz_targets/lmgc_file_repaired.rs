#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmgc_fuzz::files::lmgc_file_repaired(data));
