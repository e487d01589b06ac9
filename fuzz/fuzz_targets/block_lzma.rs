#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lmgc_fuzz::codec::block_lzma(data));
