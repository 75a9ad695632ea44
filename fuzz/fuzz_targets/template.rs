//! libFuzzer calls gimg's `template` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("template", data));
