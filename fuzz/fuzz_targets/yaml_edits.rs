//! libFuzzer calls gimg's `yaml_edits` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("yaml_edits", data));
