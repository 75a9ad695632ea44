//! libFuzzer calls gimg's `retry_after` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("retry_after", data));
