//! libFuzzer calls gimg's `yaml` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("yaml", data));
