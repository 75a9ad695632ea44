//! gimg puts a Go program into a container image: no daemon, reproducible to the byte.
//!
//! Data flows one way; the modules stand in that order. See ARCHITECTURE.md for the picture.
//!
//! | stage | module |
//! |---|---|
//! | words in | [`cli`] |
//! | what the user decided | [`settings`] |
//! | names, platforms, commands | [`plan`] |
//! | compiling | [`go`], [`binary`] |
//! | layers, images, the built-in base | [`image`], [`base`] |
//! | blobs and moving them | [`content`], [`registry`], [`target`], [`store`] |
//! | Go's build cache on servers | [`cache`] |
//! | statements about images | [`attest`] |
//! | why two images differ | [`explain`] |
//! | Kubernetes YAML | [`kube`] |
//! | verbs | [`ops`] |
//! | what was made, words out | [`report`], [`ui`] |
//!
//! Files on disk: [`store`] owns one private temporary directory a run; [`target`] owns what it writes
//! (layouts and archives, replaced as a whole), [`registry`] docker's credential file (`login`, `logout`), [`cache`] writes
//! to Go's build cache, in Go's form, if there is a remote cache. Nothing else is written, but for files that a flag or command names; engines keep what is loaded into them.

pub mod attest;
pub mod base;
pub mod binary;
pub mod cache;
pub mod cli;
pub mod content;
pub mod error;
pub mod event;
pub mod explain;
pub mod fs;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod git;
pub mod go;
pub mod image;
pub mod kube;
pub mod oci;
pub mod ops;
pub mod plan;
pub mod process;
pub mod registry;
pub mod report;
pub mod settings;
pub mod sign;
pub mod store;
pub mod target;
pub mod telemetry;
pub mod ui;
