//! libFuzzer calls gimg's `signature` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("signature", data));
