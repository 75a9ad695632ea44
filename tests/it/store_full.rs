//! Disks that are full, at every write: the cache is done without; for the rest the run fails with exit 9, and nothing
//! unfinished has a final name.

use crate::support::Sandbox;
use crate::support::cached::{base, line, mounting, program};
use crate::support::registry::TestRegistry;

const GIMG: &str = env!("CARGO_BIN_EXE_gimg");

/// A disk of so many bytes, or with so many files, mounted at `dir`, and then `script`.
fn on_disk(sandbox: &Sandbox, dir: &str, options: &str, script: &str) -> crate::support::Ran {
    let dir = sandbox.path(dir);
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!("mount -t tmpfs -o mode=700,{options} none {} || exit 97; {script}", dir.display());
    let output = mounting(sandbox, &script).output().unwrap();
    crate::support::Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sizes of a disk: in pages from none to `most`, `step` by step, and files from the mount itself to `files`.
fn disks(most: usize, step: usize, files: usize) -> Vec<String> {
    let sizes = (1..most).step_by(step).map(|pages| format!("size={}", pages * 4096));
    sizes.chain((1..files).map(|files| format!("size=64m,nr_inodes={files}"))).collect()
}

#[test]
fn a_cache_without_room_is_one_warning_at_whatever_write() {
    let registry = TestRegistry::start();
    base(&registry, &[10_000, 150_000]);
    let sandbox = program();
    let expected = sandbox.run(&line(&registry)).ok().digest();
    let cache = sandbox.path("disk");
    let cache = cache.display();
    // What is left is right, and nothing but what is right.
    let script = format!(
        "rm -r ../out; export GIMG_CACHE={cache}; {GIMG}{}; code=$?; [ -z \"$(ls -A {cache}/v1/tmp 2>&-)\" ] || exit 98
        {GIMG} cache verify >&2 || exit 99; {GIMG} cache info >&2; exit $code",
        line(&registry).strip_prefix("gimg").unwrap()
    );
    let (mut without, mut with) = (0, 0);
    for disk in disks(50, 2, 16) {
        let ran = on_disk(&sandbox, "disk", &disk, &script);
        let warnings = ran.stderr.matches("warning: going on without the cache: ").count();
        assert_eq!(ran.code, 0, "{disk}: {}", ran.stderr);
        assert_eq!(ran.digest(), expected, "{disk}");
        // The index, the manifest, the config, two layers.
        let is_whole = ran.stderr.contains("\n5 files, ");
        // With the last file the disk may be full as well: then there is no lock to prune under.
        assert!(warnings == 1 || (is_whole && warnings == 0), "{disk}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("warning:").count(), warnings, "{disk}: {}", ran.stderr);
        without += usize::from(!is_whole);
        with += usize::from(is_whole);
    }
    assert!(without > 15 && with > 3, "{without} and {with}");
}

#[test]
fn an_output_without_room_fails_and_leaves_no_unfinished_file() {
    let registry = TestRegistry::start();
    base(&registry, &[10_000, 150_000]);
    let sandbox = program();
    for (output, name) in [
        ("oci:../disk/image", "image/index.json"),
        ("oci-archive:../disk/image.tar", "image.tar"),
        ("docker-archive:../disk/image.tar", "image.tar"),
    ] {
        let line = line(&registry).replace("oci:../out", output);
        std::fs::create_dir_all(sandbox.path("disk")).unwrap();
        let expected = sandbox.run(&line).ok().digest();
        let file = sandbox.path("disk").join(name);
        let script = format!(
            "{GIMG}{}; code=$?; [ $code = 0 ] || [ ! -e {} ] || exit 98; exit $code",
            line.strip_prefix("gimg").unwrap(),
            file.display()
        );
        let (mut failed, mut fine) = (0, 0);
        for disk in disks(450, 40, 16) {
            let ran = on_disk(&sandbox, "disk", &disk, &script);
            assert_eq!(sandbox.leftovers(), Vec::<String>::new(), "{disk}");
            if ran.code == 0 {
                fine += 1;
                assert_eq!(ran.digest(), expected, "{output} on {disk}");
            } else {
                failed += 1;
                ran.fails(9, &["No space left on device"]);
            }
        }
        assert!(failed > 8 && fine > 2, "{output}: {failed} failed, {fine} were fine");
    }
}

#[test]
fn a_temporary_directory_without_room_fails_and_leaves_the_last_image() {
    let registry = TestRegistry::start();
    base(&registry, &[10_000, 150_000]);
    let sandbox = program();
    let line = line(&registry);
    let expected = sandbox.run(&line).ok().digest();
    let layout = std::fs::read(sandbox.path("out/index.json")).unwrap();
    let script = format!("{GIMG}{} --image-label some=thing", line.strip_prefix("gimg").unwrap());
    let (mut failed, mut fine) = (0, 0);
    for disk in disks(900, 80, 6) {
        let ran = on_disk(&sandbox, "tmp", &disk, &script);
        if ran.code == 0 {
            fine += 1;
            assert_ne!(ran.digest(), expected, "{disk}");
            // Back to the image that was there.
            sandbox.run(&line).ok();
        } else {
            failed += 1;
            ran.fails(9, &["No space left on device"]);
        }
        assert_eq!(std::fs::read(sandbox.path("out/index.json")).unwrap(), layout, "{disk}");
    }
    assert!(failed > 8 && fine > 2, "{failed} failed, {fine} were fine");
}

#[test]
#[ignore = "soak: compiles the standard library twice"]
fn soak_a_go_cache_without_room_changes_no_digest() {
    let sandbox = Sandbox::go("hello");
    let line = "gimg build ./cmd/other -o oci:../out";
    let expected = sandbox.run(line).ok().digest();
    let script = format!("GOCACHE={} {GIMG}{}", sandbox.path("disk").display(), &line[4..]);
    for disk in ["nr_inodes=1", "size=1m"] {
        let ran = on_disk(&sandbox, "disk", disk, &script);
        // Go does without what it can't keep, or says that it can't.
        if ran.code == 0 {
            assert_eq!(ran.digest(), expected, "{disk}");
        } else {
            ran.fails(4, &[]);
        }
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
}
