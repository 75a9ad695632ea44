//! Edge: the Go toolchain. The only place that runs `go`.

mod build;
mod delve;
mod list;
mod toolchain;

pub use build::{Binary, build, command};
pub use delve::delve;
pub use list::{Matched, list, main_modules, module_path, no_module};
pub use toolchain::{Go, find};
