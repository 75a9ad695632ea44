//! libFuzzer calls gimg's `link` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("link", data));
