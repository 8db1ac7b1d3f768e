#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| loadtest_fuzz::external::coder(input));
