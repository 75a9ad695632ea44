//! The same source gives the same digest, whoever builds it, wherever, however.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;

use crate::support::{Layout, Sandbox, copy_tree, root};

const BUILD: &str = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --output oci:out";

fn reference() -> String {
    Sandbox::go("hello").run(BUILD).ok().digest()
}

#[test]
fn surroundings_never_reach_the_digest() {
    let expected = reference();
    let shell = |umask: &str| format!("umask {umask}; exec {} {}", env!("CARGO_BIN_EXE_gimg"), &BUILD[5..]);
    for (what, sandbox) in [
        ("time zone", Sandbox::go("hello").env("TZ", "Asia/Kathmandu")),
        ("locale", Sandbox::go("hello").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "tr_TR.UTF-8")),
        ("user", Sandbox::go("hello").env("USER", "somebody").env("LOGNAME", "somebody")),
        ("home", Sandbox::go("hello").env("HOME", "/proc/none")),
        ("target of the caller", Sandbox::go("hello").env("GOOS", "windows").env("GOARCH", "386")),
        (
            "go's other settings",
            Sandbox::go("hello").env("GOTELEMETRY", "off").env("GOPRIVATE", "example.com"),
        ),
    ] {
        assert_eq!(sandbox.run(BUILD).ok().digest(), expected, "{what}");
    }
    for umask in ["000", "077"] {
        let sandbox = Sandbox::go("hello");
        assert_eq!(sandbox.run_with("sh -c", &[&shell(umask)]).ok().digest(), expected, "umask {umask}");
    }
    for jobs in ["1", "3", "8"] {
        let ran = Sandbox::go("hello").run(&format!("{BUILD} --jobs {jobs}")).ok();
        assert_eq!(ran.digest(), expected, "{jobs} jobs");
    }
}

#[test]
fn the_place_never_reaches_the_digest() {
    let expected = reference();
    let line = "gimg build --platform linux/amd64,linux/arm64 --output oci:../../out .";
    let inside = Sandbox::go("hello").cd("src/cmd/hello").run(line).ok();
    assert_eq!(inside.digest(), expected, "from the package's own directory");

    let spaced = Sandbox::new();
    copy_tree(&root().join("testdata/go/hello"), &spaced.path("src/a place/with spaces"));
    let spaced = spaced.cd("src/a place/with spaces");
    assert_eq!(spaced.run(BUILD).ok().digest(), expected, "a path with blanks");

    let linked = Sandbox::go("hello");
    symlink(linked.path("src"), linked.path("link")).unwrap();
    let link = linked.path("link").to_str().unwrap().to_owned();
    let linked = linked.cd("link").env("PWD", &link);
    assert_eq!(linked.run(BUILD).ok().digest(), expected, "through a symbolic link");
}

#[test]
fn another_user_with_an_empty_cache_gets_the_same_digest() {
    let expected = Sandbox::go("hello").run("gimg build ./cmd/other --output oci:out").ok().digest();
    let sandbox = Sandbox::go("hello");
    let cache = sandbox.path("home/cache").to_str().unwrap().to_owned();
    let gimg = sandbox.path("gimg");
    std::fs::copy(env!("CARGO_BIN_EXE_gimg"), &gimg).unwrap();
    let sandbox = sandbox.env("GOCACHE", &cache).env("GOMODCACHE", &cache);
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let ran = if is_root {
        let owned =
            std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(sandbox.path("")).status();
        assert!(owned.unwrap().success());
        let setpriv = "setpriv --reuid 65534 --regid 65534 --clear-groups";
        sandbox.run(&format!("{setpriv} {} build ./cmd/other --output oci:out", gimg.display()))
    } else {
        sandbox.run(&format!("{} build ./cmd/other --output oci:out", gimg.display()))
    };
    assert_eq!(ran.ok().digest(), expected);
}

#[test]
fn times_and_modes_of_source_files_do_not_count_but_the_owners_x_bit_of_kodata_does() {
    let expected = reference();
    let note = |sandbox: &Sandbox| sandbox.path("src/cmd/hello/kodata/note.txt");
    let chmod = |sandbox: &Sandbox, mode: u32| {
        std::fs::set_permissions(note(sandbox), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let sandbox = Sandbox::go("hello");
    for mode in [0o600, 0o654, 0o646] {
        chmod(&sandbox, mode);
        assert_eq!(sandbox.run(BUILD).ok().digest(), expected, "mode {mode:o}");
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::open(note(&sandbox)).unwrap().set_modified(old).unwrap();
    assert_eq!(sandbox.run(BUILD).ok().digest(), expected, "mtime");
    chmod(&sandbox, 0o744);
    assert_ne!(sandbox.run(BUILD).ok().digest(), expected, "the owner's x bit");
}

#[test]
fn go_settings_count_the_same_from_the_environment_and_from_gos_env_file() {
    let plain = Sandbox::go("hello").run("gimg build ./cmd/other").ok().digest();
    let by_environment =
        Sandbox::go("hello").env("GOFLAGS", "'-ldflags=-s -w'").run("gimg build ./cmd/other");
    let by_environment = by_environment.ok().digest();
    let by_file = Sandbox::go("hello").without("GOFLAGS");
    let file = by_file.path("home/.config/go/env");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "GOFLAGS='-ldflags=-s -w'\nGOOS=plan9\n").unwrap();
    assert_eq!(by_file.run("gimg build ./cmd/other").ok().digest(), by_environment);
    assert_ne!(by_environment, plain);
    let overridden = by_file.env("GOFLAGS", "-modcacherw").run("gimg build ./cmd/other").ok().digest();
    assert_eq!(overridden, plain, "the environment beats the file");
}

fn repository() -> Sandbox {
    let sandbox = Sandbox::go("hello").env("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z");
    let sandbox = sandbox.env("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z");
    for line in [
        "git init -q -b main",
        "git add .",
        "git -c user.name=n -c user.email=e@example.com commit -q -m first",
    ] {
        sandbox.run(line).ok();
    }
    sandbox
}

#[test]
fn the_git_stamp_counts_only_if_stamping_is_on() {
    let line = "gimg build ./cmd/other --buildvcs=false";
    let unstamped = Sandbox::go("hello").run(line).ok().digest();
    let sandbox = repository();
    assert_eq!(sandbox.run(line).ok().digest(), unstamped);
    let stamped = sandbox.run("gimg build ./cmd/other").ok();
    assert!(!stamped.stderr.contains("warning"), "{}", stamped.stderr);
    let again = sandbox.run("gimg build ./cmd/other").ok();
    assert_eq!(again.digest(), stamped.digest(), "gimg's own output doesn't make the tree dirty");

    sandbox.write("untracked", "");
    let dirty = sandbox.run("gimg build ./cmd/other --platform linux/amd64,linux/arm64").ok();
    assert_eq!(dirty.stderr.matches("warning:").count(), 1, "once: {}", dirty.stderr);
    assert!(dirty.stderr.contains("--buildvcs=false"));
    assert_ne!(sandbox.run("gimg build ./cmd/other").ok().digest(), stamped.digest());
    assert_eq!(sandbox.run(line).ok().digest(), unstamped, "an untracked file");
    sandbox.run("git tag v1.2.3").ok();
    assert_eq!(sandbox.run(line).ok().digest(), unstamped, "a tag");
}

#[test]
fn a_shallow_clone_and_an_archive_in_the_tree_draw_a_warning() {
    let sandbox = repository();
    let url = format!("file://{}", sandbox.path("src").display());
    sandbox.run(&format!("git clone -q --depth 1 {url} ../shallow")).ok();
    let ran = sandbox.run("gimg build ./cmd/other --output oci-archive:image.tar").ok();
    assert!(ran.stderr.contains("image.tar is not ignored by git"), "{}", ran.stderr);
    let shallow = sandbox.cd("shallow").run("gimg build ./cmd/other").ok();
    assert!(shallow.stderr.contains("warning: the git clone is shallow"), "{}", shallow.stderr);
}

#[test]
fn the_two_epochs_set_what_they_set_in_ko() {
    let sandbox =
        Sandbox::go("hello").env("SOURCE_DATE_EPOCH", "1700000000").env("KO_DATA_DATE_EPOCH", "1600000000");
    sandbox.run("gimg build ./cmd/hello --output oci:out").ok();
    let layout = Layout::at(sandbox.path("src/out"));
    let manifest = layout.root();
    let config = layout.document(&manifest["config"]);
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    let history = config["history"].as_array().unwrap();
    let created: Vec<_> = history.iter().rev().take(2).map(|h| h["created"].as_str().unwrap()).collect();
    assert_eq!(created, ["2023-11-14T22:13:20Z", "2020-09-13T12:26:40Z"], "program, kodata");
    let layers = manifest["layers"].as_array().unwrap();
    assert!(layout.entries(&layers[1]).values().all(|e| e.mtime == 1_600_000_000));
    assert!(layout.entries(&layers[2]).values().all(|e| e.mtime == 0), "the program's time is always 0");
}

#[test]
fn a_layout_is_replaced_and_never_piles_up() {
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --output oci:out").ok();
    let layout = Layout::at(sandbox.path("src/out"));
    assert!(layout.blobs().len() > 8);
    let once = sandbox.run("gimg build ./cmd/other --output oci:out").ok().digest();
    let blobs = layout.blobs();
    assert_eq!(blobs.len(), 4, "manifest, config, two layers");
    let victim = sandbox.path("src/out/blobs/sha256").join(&blobs[0]);
    std::fs::write(&victim, "rotten").unwrap();
    assert_eq!(sandbox.run("gimg build ./cmd/other --output oci:out").ok().digest(), once);
    for blob in layout.blobs() {
        layout.blob(&format!("sha256:{blob}"));
    }
}
