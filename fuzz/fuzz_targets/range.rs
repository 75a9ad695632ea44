//! libFuzzer calls gimg's `range` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("range", data));
