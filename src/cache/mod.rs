//! Edge: Go's build cache, shared over the network. What one machine compiled another takes from a server: the
//! remote cache protocol of Bazel over HTTP, the Remote Execution API over gRPC, or packs in a registry.
//!
//! Latency is the enemy: `go build` asks for one thing after the other, and never for more than a few at a time. So
//! what the last build used is written down as a [`Profile`], and all of it is fetched at once when the next begins;
//! what is small stands in the profile itself.
//!
//! What is kept there: an *object* is an output of Go's compiler, compressed with zstd, under the digest of its
//! compressed bytes. An *entry* says which object an action gave. Nothing that comes from a server is used before its
//! digest is that of Go's output id; which action gave which output is the server's word (see docs/remote-cache.md).

mod backend;
mod grpc;
mod http;
mod local;
mod object;
mod packs;
mod reapi;
mod record;
mod remote;
mod session;

pub use backend::Backend;
pub use grpc::Grpc;
pub use http::Http;
pub use local::{Found, Local};
pub use packs::Packs;
pub use record::{Entry, Profile};
pub use remote::Remote;
pub use session::{Server, Session, Tally};

use std::fmt;

use crate::oci::Digest;

/// What Go calls an action id: a hash of everything that a step of a build depends on (cmd/go/internal/cache).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action(pub [u8; 32]);

impl Action {
    /// Under what the entry of this action is kept: not the action itself, so that what other programs keep for Go on the
    /// same server is never taken for ours.
    #[must_use]
    pub fn key(self) -> Digest {
        let mut named = b"gimg go build cache, entry 1\n".to_vec();
        named.extend(self.0);
        Digest::of(&named)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Under what a profile is kept. `name` says whose it is: the module, what is built of it, for what platform, by which
/// toolchain.
#[must_use]
pub fn profile_key(name: &str) -> Digest {
    Digest::of(format!("gimg go build cache, profile 1\n{name}").as_bytes())
}
