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

mod accepted;
mod airgap;
mod archives;
mod attached;
mod auth;
mod bad_input;
mod base_signed;
mod bazel;
mod bench;
mod build;
mod ca;
mod caps;
mod carried;
mod ci;
mod clock;
mod config;
mod conformance;
mod credentials;
mod daemon;
mod debug;
mod dry_run;
mod emulated;
mod engines;
mod errors;
mod faults;
mod git;
mod gitops;
mod goreleaser;
mod hermetic;
mod history;
mod hostile;
mod house;
mod http2;
mod inspect;
mod instructions;
mod interop;
mod interrupt;
mod kills;
mod kodata;
mod kube;
mod layer;
mod level;
mod licences;
mod lists;
mod load;
mod lock;
mod login;
mod memo;
mod mirrors;
mod mutations;
mod outdated;
mod pack;
mod packages;
mod parity;
mod platform_bases;
mod platforms;
mod projects;
mod provenance;
mod proxies;
mod publish;
mod push;
mod races;
mod reach;
mod real;
mod rebase;
mod referrers;
mod registries;
mod remote_cache;
mod remote_execution;
mod reproducible;
mod resolve;
mod rollback;
mod run;
mod sbom;
mod sbom_command;
mod sbom_tag;
mod scripted;
mod shared;
mod shared_signed;
mod sign_tag;
mod signatures;
mod signed;
mod soak;
mod store;
mod store_full;
mod summary;
mod sweeps;
mod telemetry;
mod template;
mod tls;
mod upload;
mod verify;
mod why;
mod windows;
