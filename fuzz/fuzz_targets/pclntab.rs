//! libFuzzer calls gimg's `pclntab` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("pclntab", data));
