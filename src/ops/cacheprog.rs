//! `gimg cacheprog`: Go's build cache over the network, for any `go` that is told so by GOCACHEPROG.

use std::io::{BufReader, Write};
use std::path::Path;

use crate::cache::{Local, Session, Tally};
use crate::error::Result;
use crate::go;
use crate::ops::{Context, remote};
use crate::settings::RemoteCache;

/// What `gimg cacheprog` is told.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The server; without one Go's directory alone is served.
    pub remote: Option<&'a RemoteCache>,
    /// Go's directory.
    pub dir: &'a Path,
    /// The profile's name, if somebody chose it.
    pub profile: Option<String>,
    /// Where `go` runs.
    pub cwd: &'a Path,
}

/// Serves the `go` that started this process, to its end. Gives what happened.
///
/// # Errors
/// A server that can't be meant; whoever speaks isn't `go`.
pub async fn serve(
    cx: &Context,
    wish: Wish<'_>,
    input: impl std::io::Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<Tally> {
    let server = wish.remote.map(|remote| remote::open(cx, remote)).transpose()?;
    // What `go` was called with isn't known here: commands of one module share a profile for a target.
    let target = ["GOOS", "GOARCH", "GOFLAGS", "CGO_ENABLED"].map(|name| cx.env.first(&[name]).unwrap_or(""));
    let name = wish.profile.unwrap_or_else(|| remote::profile(wish.cwd, &[], &target));
    let name = (name != "-").then_some(name);
    let writes = wish.remote.is_some_and(|remote| remote.writes);
    let session = Session::new(Local::new(wish.dir), server, writes, name);
    go::serve(&session, BufReader::with_capacity(256 << 10, input), output).await
}
