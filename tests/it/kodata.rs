//! kodata: what is taken, what is refused, and that nothing outside of the repository or module ever gets in.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::support::rootfs::is_root;
use crate::support::{Layout, Sandbox};

const MAIN: &str = "package main\n\nfunc main() {}\n";

/// A module with a file `kodata/a`.
fn module() -> Sandbox {
    Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", MAIN)
        .file("kodata/a", "a")
}

/// The same with a link in kodata.
fn with(link: &str, target: &str) -> Sandbox {
    let sandbox = module();
    symlink(target, sandbox.path("src/kodata").join(link)).unwrap();
    sandbox
}

/// The names below `var/run/ko/` of the only image.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let layout = Layout::at(sandbox.path("src/gimg-out/m"));
    let layer = &layout.root()["layers"][1];
    layout.entries(layer).keys().map(|n| n.trim_start_matches("var/run/ko/").to_owned()).collect()
}

#[test]
fn links_that_leave_dangle_or_loop_are_refused_with_their_target() {
    with("x", "/etc/passwd")
        .run("gimg build")
        .fails(3, &["kodata/x", "points to /etc/passwd", "must stay below", "KO_DATA_PATH_ALLOWED_ROOT"]);
    with("x", "missing").run("gimg build").fails(3, &["kodata/x", "points to missing, which isn't there"]);
    with("x", "x").run("gimg build").fails(3, &["kodata/x", "a loop of links"]);
    with("loop", ".").run("gimg build").fails(3, &["kodata/loop", "loops back to"]);
}

#[test]
fn links_inside_are_followed_and_the_user_can_widen_what_inside_is() {
    let inside = with("b", "../main.go");
    inside.run("gimg build").ok();
    assert_eq!(names(&inside), ["", "a", "b"]);
    let outside = with("b", "../../shared");
    std::fs::create_dir(outside.path("shared")).unwrap();
    std::fs::write(outside.path("shared/c"), "c").unwrap();
    outside.run("gimg build").fails(3, &["kodata/b", "points to ../../shared"]);
    let wide = outside.env("KO_DATA_PATH_ALLOWED_ROOT", "..");
    wide.run("gimg build").ok();
    assert_eq!(names(&wide), ["", "a", "b/", "b/c"]);
}

#[test]
fn special_files_are_refused_without_waiting_for_them() {
    let sandbox = module();
    assert!(Command::new("mkfifo").arg(sandbox.path("src/kodata/pipe")).status().unwrap().success());
    let line = format!("timeout 60 {} build", env!("CARGO_BIN_EXE_gimg"));
    sandbox.run(&line).fails(3, &["kodata/pipe", "not a regular file"]);
    with("device", "/dev/zero").run("gimg build").fails(3, &["kodata/device", "/dev/zero"]);
}

#[test]
fn an_unreadable_file_is_a_local_error_with_its_path() {
    let sandbox = module();
    let file = sandbox.path("src/kodata/a");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    let gimg = sandbox.path("gimg");
    std::fs::copy(env!("CARGO_BIN_EXE_gimg"), &gimg).unwrap();
    let cache = sandbox.path("home/cache").to_str().unwrap().to_owned();
    let sandbox = sandbox.env("GOCACHE", &cache).env("GOMODCACHE", &cache);
    let mut line = format!("{} build", gimg.display());
    if is_root() {
        // Nothing is unreadable for root.
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(sandbox.path("")).status();
        assert!(owned.unwrap().success());
        line = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {line}");
    }
    sandbox.run(&line).fails(9, &["kodata/a", "Permission denied"]);
}

#[test]
fn names_are_kept_or_refused_but_never_break_the_tar() {
    use std::os::unix::ffi::OsStrExt as _;
    with(".wh.a", "a").run("gimg build").fails(3, &[".wh."]);
    let latin = module();
    let name = std::ffi::OsStr::from_bytes(b"na\xefve");
    std::fs::write(latin.path("src/kodata").join(name), "").unwrap();
    latin.run("gimg build").fails(3, &["isn't UTF-8"]);

    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let sandbox =
        module().file("kodata/line\nfeed", "").file("kodata/A", "").file(&format!("kodata/{long}"), "");
    sandbox.run("gimg build").ok();
    assert_eq!(names(&sandbox), ["", "A", "a", &format!("{}/", "d".repeat(200)), &long, "line\nfeed"]);
    // GNU tar writes them to disk as they were.
    let hex = Layout::at(sandbox.path("src/gimg-out/m")).root()["layers"][1]["digest"].clone();
    let hex = hex.as_str().unwrap().replace("sha256:", "");
    sandbox.run(&format!("tar -xzf gimg-out/m/blobs/sha256/{hex} -C {}", sandbox.path("tmp").display())).ok();
    for name in ["A", "a", "line\nfeed", &long] {
        assert!(sandbox.path("tmp/var/run/ko").join(name).is_file(), "{name:?}");
    }
}

#[test]
fn no_kodata_is_no_layer_but_the_variable_stays() {
    let sandbox = module();
    std::fs::remove_file(sandbox.path("src/kodata/a")).unwrap();
    sandbox.run("gimg build").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/m"));
    let manifest = layout.root();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "base and program");
    let env = &layout.document(&manifest["config"])["config"]["Env"];
    assert!(env.as_array().unwrap().contains(&"KO_DATA_PATH=/var/run/ko".into()));
}
