//! Statements about images: what is in them. Pure.

mod modules;
mod purl;
mod spdx;

pub use modules::{Module, Modules};
pub use spdx::{Base, Facts, Program, image, index};

use crate::oci::Platform;

/// The names of the files for an image's platforms, as ko has them: `<app>-<os>-<arch>[-<variant>].spdx.json`. Two
/// versions of Windows, which would share a name, both have their version at its end.
#[must_use]
pub fn file_names(app: &str, platforms: &[Platform]) -> Vec<String> {
    let plain: Vec<String> = platforms
        .iter()
        .map(|p| {
            let variant = p.variant.iter().map(|v| format!("-{v}"));
            variant.fold(format!("{app}-{}-{}", p.os, p.architecture), |name, v| name + &v)
        })
        .collect();
    let named = platforms.iter().zip(&plain).map(|(platform, name)| {
        let shared = plain.iter().filter(|other| *other == name).count() > 1;
        let version = platform.os_version.iter().filter(|_| shared).map(|v| format!("-{v}"));
        version.fold(name.clone(), |name, v| name + &v) + EXTENSION
    });
    named.collect()
}

/// The name of the file for an image's index, as ko has it.
#[must_use]
pub fn index_file_name(app: &str) -> String {
    format!("{app}-index{EXTENSION}")
}

const EXTENSION: &str = ".spdx.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_ko_names_them() {
        let names = |platforms: &[&str]| {
            let platforms: Vec<Platform> = platforms.iter().map(|p| p.parse().unwrap()).collect();
            file_names("app", &platforms)
        };
        assert_eq!(
            names(&["linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348.1"]),
            ["app-linux-amd64.spdx.json", "app-linux-arm-v7.spdx.json", "app-windows-amd64.spdx.json"]
        );
        assert_eq!(
            names(&["windows/amd64:10.0.17763", "windows/amd64:10.0.20348"]),
            ["app-windows-amd64-10.0.17763.spdx.json", "app-windows-amd64-10.0.20348.spdx.json"]
        );
        assert_eq!(index_file_name("app"), "app-index.spdx.json");
    }
}
