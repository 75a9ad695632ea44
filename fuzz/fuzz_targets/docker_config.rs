//! libFuzzer calls gimg's `docker_config` reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gimg::fuzzing::call("docker_config", data));
