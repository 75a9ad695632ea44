//! libFuzzer calls gimg's `advisory` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("advisory", data));
