//! libFuzzer calls gimg's `reference` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("reference", data));
