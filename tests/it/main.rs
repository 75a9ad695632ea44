//! The integration tests: one binary, a module per area that users see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests stop at the first surprise"
)]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod build;
mod conformance;
mod dry_run;
mod errors;
mod git;
mod house;
mod interop;
mod interrupt;
mod pack;
mod platforms;
mod publish;
mod push;
mod real;
mod reproducible;
mod run;
mod soak;
mod template;
