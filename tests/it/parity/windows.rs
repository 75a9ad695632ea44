//! Cases of Windows images.

use crate::support::twins::{Case, case};

/// Bases and layers of Windows.
pub(super) fn all() -> Vec<Case> {
    let on = |name, base: &str, platform: &str| case(name).base(base).run(&format!("--platform {platform}"));
    let differs = |case: Case| case.differs("program of Windows").differs("path of Windows");
    vec![
        differs(on("windows: an image", "windows", "windows/amd64")),
        differs(on("windows: all", "windows", "all")),
        differs(on("windows: version", "versions", "windows/amd64:10.0.20348.2")),
        differs(on("windows: part of a version", "versions", "windows/amd64:10.0.17763")),
        differs(on("windows: every version", "versions", "windows/amd64")),
        differs(on("windows: beside linux", "versions", "linux/amd64,windows/amd64:10.0.20348")),
        differs(on("windows: all of both", "versions", "all")),
        differs(
            on("windows: kodata", "windows", "windows/amd64").file("kodata/a", "a").file("kodata/b/c", "c"),
        ),
        differs(
            on("windows: a link in kodata", "windows", "windows/amd64")
                .file("kodata/a", "a")
                .link("kodata/l", "a"),
        )
        .differs("links of Windows"),
        on("windows: a version that isn't there", "versions", "windows/amd64:10.0.2034").fails(),
    ]
}
