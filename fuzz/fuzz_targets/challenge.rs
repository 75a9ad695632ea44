//! libFuzzer calls gimg's `challenge` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("challenge", data));
