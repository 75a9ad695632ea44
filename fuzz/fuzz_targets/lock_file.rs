//! libFuzzer calls gimg's `lock_file` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("lock_file", data));
