//! libFuzzer calls gimg's `binary` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("binary", data));
