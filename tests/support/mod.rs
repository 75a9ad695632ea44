//! What the tests stand on.

pub(crate) mod client;
pub(crate) mod engine;
mod image;
pub(crate) mod kube;
pub(crate) mod registry;
pub(crate) mod rootfs;
mod sandbox;
pub(crate) mod servers;
mod stub_go;

pub(crate) use image::{Entry, Layout, read_tar, sha256};
pub(crate) use sandbox::{Ran, Sandbox, copy_tree, root, tool};
pub(crate) use stub_go::{GoLog, go_log};
