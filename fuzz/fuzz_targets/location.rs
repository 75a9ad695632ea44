//! libFuzzer calls gimg's `location` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("location", data));
