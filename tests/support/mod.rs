//! What the tests stand on.

pub(crate) mod client;
pub(crate) mod registry;
pub(crate) mod servers;
