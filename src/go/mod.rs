//! Edge: the Go toolchain. The only place that runs `go`.

mod build;
mod cacheprog;
mod closure;
mod delve;
mod fetch;
mod inputs;
mod licences;
mod list;
mod portable;
mod sandbox;
mod toolchain;

pub use build::{Binary, CacheProgram, How, build, command};
pub use cacheprog::serve;
pub use closure::{Closure, closure};
pub use delve::delve;
pub use fetch::{Fetched, fetch, releases};
pub use inputs::{above, around, can_judge, environment, may_stamp, of_query, of_toolchain};
pub use licences::{Places, licences};
pub use list::{Matched, list, main_modules, module_around, module_path, no_module};
pub use portable::Portable;
pub use sandbox::{Pinned, Sandbox, fetch_modules, pinned};
pub use toolchain::{Go, Told, find, of_version};
