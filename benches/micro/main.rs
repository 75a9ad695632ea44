//! Micro-benchmarks of what gimg itself spends time on: `make bench-micro`, or `cargo bench --bench micro -- NAME`.
//! All data is made here, always the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "benches stop at the first surprise"
)]

mod compress;
mod data;
mod hash;
mod snapshot;
mod tar;
mod yaml;

fn main() {
    divan::main();
}
