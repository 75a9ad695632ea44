//! What the tests stand on.

pub(crate) mod bases;
pub(crate) mod build_cache;
pub(crate) mod cached;
pub(crate) mod canary;
pub(crate) mod client;
pub(crate) mod emulator;
pub(crate) mod engine;
pub(crate) mod facts;
pub(crate) mod front;
pub(crate) mod goroot;
pub(crate) mod https;
mod image;
pub(crate) mod kube;
pub(crate) mod layers;
pub(crate) mod net;
pub(crate) mod nginx;
pub(crate) mod reapi;
pub(crate) mod registry;
pub(crate) mod rootfs;
mod sandbox;
pub(crate) mod servers;
pub(crate) mod setups;
mod stub_go;
pub(crate) mod toxiproxy;
pub(crate) mod twins;
pub(crate) mod yaml;

pub(crate) use image::{Entry, Layout, read_tar, read_tar_bytes, sha256};
pub(crate) use sandbox::{Ran, Sandbox, copy_tree, root, tool};
pub(crate) use stub_go::{GoLog, go_log};
