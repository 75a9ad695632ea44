//! libFuzzer calls gimg's `tar` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("tar", data));
