//! libFuzzer calls gimg's `config_file` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("config_file", data));
