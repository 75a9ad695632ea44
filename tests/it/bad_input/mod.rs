//! Bad input: each row has its exit code and its words, and leaves nothing behind. What needs a story of its own is in
//! `errors.rs`; bad bases and registries are in `push.rs`, `auth.rs` and `interop.rs`.

mod rows;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::Sandbox;
use crate::support::bases;
use crate::support::registry::TestRegistry;
use crate::support::rootfs::is_root;

use rows::{CONFIG, FLAGS, KODATA, OUTPUTS, PACKAGES, REFERENCES, Row, VARIABLES, kodata};

/// A tag, or a repository, that is too long.
const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                    01234567890123456789012345678";

/// Every path below a directory; of links and files what is in them.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.unwrap();
        let content = match entry.file_type() {
            t if t.is_file() => std::fs::read(entry.path()).unwrap(),
            t if t.is_symlink() => std::fs::read_link(entry.path()).unwrap().to_str().unwrap().into(),
            _ => Vec::new(),
        };
        all.push((format!("{:?} {}", entry.file_type(), entry.path().display()), content));
    }
    all
}

/// Runs every row in a tree of its own; all that is wrong is said at once.
fn refused(rows: &[Row]) {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let before = registry.repositories();
    let mut wrong = Vec::new();
    for row in rows {
        let mut sandbox = Sandbox::new()
            .file("go.mod", "module example.com/m\n\ngo 1.21\n")
            .file("main.go", "package main\n\nfunc main() {}\n");
        for (key, value) in row.env {
            sandbox = sandbox.env(key, value);
        }
        (row.tree)(sandbox.cwd());
        let tree = snapshot(sandbox.cwd());
        let line = row.line.replace("{long}", LONG).replace("{host}", &registry.host());
        let start = Instant::now();
        let ran = sandbox.run(&line);
        let mut say = |what: &str| wrong.push(format!("{}: {what}\n  $ {line}\n{}", row.what, ran.stderr));
        if ran.code != row.code {
            say(&format!("exit code {}, not {}", ran.code, row.code));
        }
        if let Some(word) = row.words.iter().find(|w| !ran.stderr.contains(**w)) {
            say(&format!("no {word:?}"));
        }
        // The command line's own parser says `error: …`; nothing says both, or either twice.
        let errors =
            ran.stderr.lines().filter(|l| l.starts_with("gimg: ") || l.starts_with("error: ")).count();
        if errors != 1 && !row.line.eq("gimg") {
            say(&format!("{errors} errors"));
        }
        if !ran.stdout.is_empty() {
            say("something on standard output");
        }
        if snapshot(sandbox.cwd()) != tree {
            say("the tree is not as it was");
        }
        if let Some(left) = sandbox.leftovers().first() {
            say(&format!("{left} is left behind"));
        }
        if start.elapsed() > Duration::from_secs(20) {
            say("too slow");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(registry.repositories(), before, "nothing is pushed");
    assert_eq!(registry.asked("PUT", ""), 0);
}

#[test]
fn bad_flags() {
    refused(FLAGS);
}

#[test]
fn bad_variables() {
    refused(VARIABLES);
}

#[test]
fn bad_references() {
    refused(REFERENCES);
}

#[test]
fn bad_packages() {
    refused(PACKAGES);
}

#[test]
fn bad_configuration() {
    refused(CONFIG);
}

#[test]
fn bad_kodata() {
    refused(KODATA);
}

#[test]
fn bad_outputs() {
    refused(OUTPUTS);
}

#[test]
fn kodata_that_can_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n")
        .file("kodata/secret", "x");
    let secret = sandbox.path("src/kodata/secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let mut line = "gimg build".to_owned();
    if is_root() {
        // root reads everything: someone else has to try.
        std::fs::copy(env!("CARGO_BIN_EXE_gimg"), sandbox.path("gimg")).unwrap();
        let chown = ["chown", "-R", "65534:65534"];
        let owned = std::process::Command::new(chown[0]).args(&chown[1..]).arg(sandbox.path("")).status();
        assert!(owned.unwrap().success());
        let user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
        line = format!("{user} {} build", sandbox.path("gimg").display());
    }
    let cache = sandbox.path("home/cache").to_str().unwrap().to_owned();
    let sandbox = sandbox.env("GOCACHE", &cache);
    sandbox.run(&line).fails(9, &["kodata/secret", "Permission denied"]);
    assert!(!sandbox.path("src/gimg-out").exists());
}

#[test]
fn odd_names_in_kodata_are_kept() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    let names = ["a\nb", " ", "\\", "ü\u{301}", "*?", "a:b", ".wh", "-rf"];
    for name in names {
        kodata(sandbox.cwd(), name);
    }
    sandbox.run("gimg build").ok();
    let layout = crate::support::Layout::at(sandbox.path("src/gimg-out/m"));
    let entries = layout.entries(&layout.root()["layers"][1]);
    for name in names {
        assert_eq!(entries[&format!("var/run/ko/{name}")].size, 4, "{name:?}");
    }
}

#[test]
fn a_platform_named_twice_is_built_once_with_a_warning() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    let ran = sandbox.run("gimg build --platform linux/amd64 --platform linux/amd64/v1,linux/amd64").ok();
    assert_eq!(
        ran.stderr.matches("warning: platform linux/amd64 is named twice").count(),
        1,
        "{}",
        ran.stderr
    );
    assert_eq!(ran.digest(), sandbox.run("gimg build").ok().digest());
}

#[test]
fn an_archive_at_a_link_replaces_the_file_and_not_the_link() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n")
        .file("elsewhere/image.tar", "old");
    symlink("elsewhere/image.tar", sandbox.path("src/image.tar")).unwrap();
    sandbox.run("gimg build --output oci-archive:image.tar").ok();
    assert!(sandbox.path("src/image.tar").is_symlink());
    assert!(std::fs::metadata(sandbox.path("src/elsewhere/image.tar")).unwrap().len() > 10_000);
}
