//! libFuzzer calls gimg's `document` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("document", data));
