//! Edge: the Go toolchain. The only place that runs `go`.

mod build;
mod list;
mod toolchain;

pub use build::{Binary, build, command};
pub use list::{list, main_modules, module_path, no_module};
pub use toolchain::{Go, find};
