//! What was built before is used again when nothing changed, and only then.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::Digest as _;

use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox};

const LINE: &str = "gimg build ./cmd/app --platform linux/amd64,linux/arm64";

/// A program with everything that Go reads: packages, embedded files, a module in a directory, other platforms' files.
pub(crate) fn project() -> Sandbox {
    let sandbox = Sandbox::new().cd("src/app");
    let main = "package main\n\nimport (\n\t\"embed\"\n\n\t\"example.com/app/greet\"\n\t\"example.com/local\"\n)\n\n\
                //go:embed static pages/*.txt\nvar files embed.FS\n\nconst text = \"one\"\n\nfunc main() {\n\t\
                b, _ := files.ReadFile(\"static/a.txt\")\n\tprintln(text, greet.Hello(), local.Name(), string(b))\n}\n";
    sandbox.write(
        "go.mod",
        "module example.com/app\n\ngo 1.24\n\nrequire example.com/local v0.0.0\n\nreplace example.com/local => ../local\n",
    );
    sandbox.write("cmd/app/main.go", main);
    sandbox.write("cmd/app/static/a.txt", "a");
    sandbox.write("cmd/app/static/deep/b.txt", "b");
    sandbox.write("cmd/app/pages/c.txt", "c");
    sandbox.write("greet/greet.go", "package greet\n\nfunc Hello() string { return \"hello\" + extra }\n");
    sandbox.write("greet/extra.go", "package greet\n\nconst extra = \"!\"\n");
    sandbox.write("greet/off.go", "//go:build ignore\n\npackage greet\n\nfunc init() { println(\"off\") }\n");
    sandbox.write("../local/go.mod", "module example.com/local\n\ngo 1.24\n");
    sandbox.write("../local/local.go", "package local\n\nfunc Name() string { return \"local\" }\n");
    sandbox
}

/// Waits until what was written is old enough to be judged by its times.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(2100));
}

pub(crate) fn is_recalled(ran: &Ran) -> bool {
    let recalled = ran.stderr.contains("unchanged app for linux/amd64");
    assert_eq!(ran.stderr.contains("compiling"), !recalled, "{}", ran.stderr);
    recalled
}

/// The memos in the cache.
fn memos(sandbox: &Sandbox) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(sandbox.path("home/.cache/gimg/v1/memo")) else { return Vec::new() };
    entries.map(|e| e.unwrap().path()).collect()
}

#[test]
fn nothing_changed_nothing_is_built() {
    let sandbox = project();
    settle();
    let first = sandbox.run(LINE).ok();
    assert!(!is_recalled(&first));
    for more in [&[][..], &["--output", "oci:elsewhere"], &["--tags", "other"]] {
        let again = sandbox.run_with(LINE, more).ok();
        assert!(is_recalled(&again), "{more:?}: {}", again.stderr);
        assert_eq!(again.digest(), first.digest());
    }
    let layout = Layout::at(sandbox.path("src/app/gimg-out/app"));
    assert_eq!(layout.images().keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    // A further platform is built, the others are not.
    let third = sandbox.run("gimg build ./cmd/app --platform linux/amd64,linux/arm64,linux/s390x").ok();
    assert!(third.stderr.contains("unchanged app for linux/arm64"), "{}", third.stderr);
    assert!(third.stderr.contains("compiled example.com/app/cmd/app for linux/s390x"), "{}", third.stderr);
    let forced = sandbox.run(&format!("{LINE} --no-cache")).ok();
    assert!(!is_recalled(&forced));
    assert_eq!(forced.digest(), first.digest());
}

#[test]
fn what_is_asked_for_otherwise_is_built() {
    let sandbox = project();
    settle();
    let first = sandbox.run(LINE).ok();
    for more in [
        &["--ldflags=-s -w"][..],
        &["--go-flag=-tags=other"],
        &["--compression=zstd"],
        &["--binary=renamed"],
        &["--binary=/usr/bin/app"],
        &["--disable-optimizations"],
    ] {
        let other = sandbox.run_with(LINE, more).ok();
        assert!(!is_recalled(&other), "{more:?}");
        assert!(is_recalled(&sandbox.run_with(LINE, more).ok()), "{more:?}");
        // Tags that no file asks for change the program all the same: it says how it was built.
        assert_ne!(other.digest(), first.digest(), "{more:?}");
    }
    assert!(is_recalled(&sandbox.run(LINE).ok()));
    let sandbox = sandbox.env("GOFLAGS", "-modcacherw -ldflags=-s");
    assert!(!is_recalled(&sandbox.run(LINE).ok()));
    let sandbox = sandbox.env("GOFLAGS", "-modcacherw").env("GOEXPERIMENT", "nogreenteagc");
    assert!(!is_recalled(&sandbox.run(LINE).ok()));
    // What doesn't reach Go doesn't matter.
    let sandbox = sandbox.without("GOEXPERIMENT").env("TERM", "dumb").env("CI_JOB", "7");
    assert!(is_recalled(&sandbox.run(LINE).ok()));
}

#[test]
fn what_cannot_be_judged_is_built_every_time() {
    let sandbox = project();
    settle();
    for more in ["--go-flag=-asmflags=-D=x", "--ldflags=-linkmode internal", "--go-flag=-a"] {
        for _ in 0..2 {
            assert!(!is_recalled(&sandbox.run_with(LINE, &[more]).ok()), "{more}");
        }
    }
    // A program of its own choice stands for go.
    let go = String::from_utf8(sandbox.command("which go").output().unwrap().stdout).unwrap();
    sandbox.write("../bin/go", &format!("#!/bin/sh\nexec {} \"$@\"\n", go.trim()));
    let shim = sandbox.path("src/bin/go");
    std::fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let toolchains = || {
        memos(&sandbox).iter().filter(|m| std::fs::read_to_string(m).unwrap().contains("GOVERSION")).count()
    };
    let before = toolchains();
    let shimmed =
        |line: &str| Ran::of(line, sandbox.command(line).env("KO_GO_PATH", &shim).output().unwrap()).ok();
    for _ in 0..3 {
        assert!(!is_recalled(&shimmed(LINE)));
    }
    assert_eq!((before, toolchains()), (1, 1));
}

#[test]
fn damaged_memos_and_layers_are_made_again() {
    let sandbox = project();
    settle();
    let digest = sandbox.run(LINE).ok().digest();
    let damages: &[fn(&Path)] = &[
        |memo| std::fs::remove_file(memo).unwrap(),
        |memo| replace(memo, |bytes| bytes.truncate(bytes.len() / 2)),
        |memo| replace(memo, Vec::clear),
        |memo| replace(memo, |bytes| bytes[100] ^= 1),
        |memo| {
            std::fs::remove_file(memo).unwrap();
            std::fs::create_dir(memo).unwrap();
        },
    ];
    for damage in damages {
        memos(&sandbox).iter().for_each(|memo| damage(memo));
        let again = sandbox.run(LINE).ok();
        assert_eq!((is_recalled(&again), again.digest()), (false, digest.clone()));
        assert!(is_recalled(&sandbox.run(LINE).ok()));
    }
    let blobs = sandbox.path("home/.cache/gimg/v1/blobs/sha256");
    let registry = TestRegistry::start();
    let line = |output: &str| format!("{LINE} --repo {}/{output}", registry.host());
    for (number, damage) in damages[..4].iter().enumerate() {
        for output in ["--output oci:new", "--output oci-archive:new.tar", "--output registry"] {
            let _ = std::fs::remove_dir_all(sandbox.path("src/app/new"));
            for blob in std::fs::read_dir(&blobs).unwrap() {
                damage(&blob.unwrap().path());
            }
            let line = line(&format!("{number} {output}"));
            let again = sandbox.run(&line).ok();
            assert_eq!(again.digest(), digest, "{}", again.stderr);
            assert!(again.stderr.contains("compiled"), "{}", again.stderr);
            assert!(is_recalled(&sandbox.run(&line).ok()));
        }
    }
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    let off = sandbox.env("GIMG_CACHE", "off");
    let ran = off.run(LINE).ok();
    assert_eq!((is_recalled(&ran), ran.digest()), (false, digest));
}

/// Changes a file that nobody may write to.
fn replace(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    change(&mut bytes);
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn an_audit_builds_and_finds_a_memo_that_is_wrong() {
    let sandbox = project();
    settle();
    let digest = sandbox.run(LINE).ok().digest();
    let audit = sandbox.run(&format!("{LINE} --verify-cache -v")).ok();
    assert_eq!(audit.digest(), digest);
    assert!(!is_recalled(&audit));
    for what in
        ["the toolchain", "the programs", "the built-in base", "app for linux/amd64", "app for linux/arm64"]
    {
        assert!(audit.stderr.contains(&format!("the cache of {what} is right")), "{}", audit.stderr);
    }
    // Layers of programs have stamps beside them; the built-in base's hasn't.
    for (of_programs, count, error) in [
        (true, 2, "verify the cache of app for linux/amd64"),
        (false, 1, "verify the cache of the built-in base"),
    ] {
        let mut changed = 0;
        for memo in memos(&sandbox) {
            replace(&memo, |bytes| {
                let text = String::from_utf8(bytes[65..].to_vec()).unwrap();
                if text.contains("\"stamps\":") != of_programs || !text.contains("\"uncompressed_size\":") {
                    return;
                }
                changed += 1;
                let wrong = text.replace("\"uncompressed_size\":", "\"uncompressed_size\":1");
                let mut head = String::new();
                sha2::Sha256::digest(wrong.as_bytes()).iter().for_each(|b| write!(head, "{b:02x}").unwrap());
                *bytes = format!("{head}\n{wrong}").into_bytes();
            });
        }
        assert_eq!(changed, count);
        sandbox.run(&format!("{LINE} --verify-cache")).fails(8, &[error]);
    }
}

#[test]
fn files_that_are_as_before_are_not_packed_again() {
    let sandbox = project();
    let at = |name: &str| sandbox.path(&format!("src/app/cmd/app/kodata/{name}"));
    let noise = |seed: u64| {
        let mut dice = Dice(seed);
        (0..2_000_000).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect::<Vec<u8>>()
    };
    sandbox.write("cmd/app/kodata/small.txt", "small");
    std::fs::write(at("large"), noise(1)).unwrap();
    std::fs::write(sandbox.path("src/app/other"), noise(2)).unwrap();
    std::os::unix::fs::symlink("large", at("link")).unwrap();
    sandbox.run("git init -q").ok();
    settle();
    let is_packed = |ran: &Ran| !ran.stderr.contains("files of app: unchanged");
    let line = format!("{LINE} -v");
    let first = sandbox.run(&line).ok();
    assert!(is_packed(&first));
    let edits: &[&dyn Fn()] = &[
        &|| {},
        &|| {
            let time = std::fs::metadata(at("large")).unwrap().modified().unwrap();
            std::fs::write(at("large"), noise(3)).unwrap();
            std::fs::File::options().write(true).open(at("large")).unwrap().set_modified(time).unwrap();
        },
        &|| sandbox.write("cmd/app/kodata/small.txt", "other"),
        &|| sandbox.write("cmd/app/kodata/new/file.txt", "new"),
        &|| {
            std::fs::set_permissions(at("small.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap()
        },
        &|| std::fs::rename(at("small.txt"), at("renamed.txt")).unwrap(),
        &|| {
            std::fs::remove_file(at("link")).unwrap();
            std::os::unix::fs::symlink("renamed.txt", at("link")).unwrap();
        },
        &|| {
            std::fs::remove_file(at("link")).unwrap();
            std::os::unix::fs::symlink("../../../other", at("link")).unwrap();
        },
        &|| std::fs::write(sandbox.path("src/app/other"), noise(4)).unwrap(),
    ];
    for (number, edit) in edits.iter().enumerate() {
        edit();
        let ran = sandbox.run(&line).ok();
        assert_eq!(is_packed(&ran), number > 0, "edit {number}: {}", ran.stderr);
        let clean = sandbox.run(&format!("{LINE} --no-cache --output oci:../clean")).ok();
        assert_eq!(ran.digest(), clean.digest(), "edit {number}");
        // Now the edit is old.
        settle();
        assert_eq!(sandbox.run(&line).ok().digest(), clean.digest(), "edit {number}");
        let third = sandbox.run(&line).ok();
        assert!(!is_packed(&third), "edit {number}: {}", third.stderr);
        assert_eq!(third.digest(), clean.digest(), "edit {number}");
    }
    let dated = Ran::of("dated", sandbox.command(&line).env("KO_DATA_DATE_EPOCH", "86400").output().unwrap());
    assert!(is_packed(&dated.ok()));
    assert!(is_packed(&sandbox.run(&format!("{line} --compression=gzip:9")).ok()));
    let audit = sandbox.run(&format!("{line} --verify-cache")).ok();
    assert!(audit.stderr.contains("the cache of files of app is right"), "{}", audit.stderr);
}

#[test]
fn no_secret_is_remembered() {
    let secret = crate::support::canary::SECRET;
    let sandbox = project().env("GOPROXY", &format!("https://user:{secret}@proxy.invalid,direct"));
    sandbox.write("../../home/.config/go/env", &format!("GOAUTH=git {secret}\n"));
    sandbox.may_hold_secrets("home/.config/go/env");
    settle();
    sandbox.run(LINE).ok();
    // The sandbox looks for it in every file.
    assert!(is_recalled(&sandbox.run(LINE).ok()));
}

/// Runs git in the directory that the project is in.
pub(crate) fn git(sandbox: &Sandbox, line: &str) {
    let who = "-c user.name=me -c user.email=me@example.com -c init.defaultBranch=main";
    sandbox.run(&format!("git {who} -C .. {line}")).ok();
}

#[test]
fn a_stamped_program_is_built_again_when_git_says_something_else() {
    let sandbox = project().env("GIT_CONFIG_GLOBAL", "/dev/null");
    let git = |line: &str| git(&sandbox, line);
    git("init -q");
    git("add .");
    git("commit -q -m one");
    settle();
    let first = sandbox.run(LINE).ok();
    let second = sandbox.run(LINE).ok();
    assert!(is_recalled(&second), "{}", second.stderr);
    assert_eq!(first.digest(), second.digest());
    let mut before = first.digest();
    for change in ["commit -q --allow-empty -m two", "tag app/v1.2.3", "tag -d app/v1.2.3", ""] {
        if change.is_empty() {
            sandbox.write("../untracked", "x");
        } else {
            git(change);
        }
        let built = sandbox.run(LINE).ok();
        assert!(!is_recalled(&built), "{change}");
        assert_eq!(built.digest(), sandbox.run(&format!("{LINE} --no-cache")).ok().digest());
        // Whether a tag makes a version is Go's affair; it is asked again.
        assert!(change.starts_with("tag") || built.digest() != before, "{change}");
        let again = sandbox.run(LINE).ok();
        assert!(is_recalled(&again), "{change}: {}", again.stderr);
        assert_eq!(again.stderr.contains("has changes or untracked files"), change.is_empty());
        before = built.digest();
    }
}

/// A small generator: the same edits for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// One random edit of the project, in words; what it changes in the environment is in the sandbox.
pub(crate) fn edit(sandbox: Sandbox, dice: &mut Dice) -> (Sandbox, String) {
    const FILES: &[&str] = &[
        "cmd/app/main.go",
        "greet/greet.go",
        "greet/extra.go",
        "greet/off.go",
        "../local/local.go",
        "cmd/app/static/a.txt",
        "cmd/app/static/deep/b.txt",
        "cmd/app/pages/c.txt",
        "go.mod",
    ];
    let at = |name: &str| sandbox.cwd().join(name);
    // What breaks the build is soon mended: else there would be little to see.
    for broken in ["greet/broken.go", "greet/go.mod"] {
        if dice.roll(2) == 0 {
            let _ = std::fs::remove_file(at(broken));
        }
    }
    let name = FILES[dice.roll(FILES.len())];
    let text = std::fs::read_to_string(at(name)).unwrap_or_default();
    let set_time = |name: &str, time: SystemTime| {
        if let Ok(file) = std::fs::File::options().write(true).open(at(name)) {
            file.set_modified(time).unwrap();
        }
    };
    let number = dice.roll(90) + 10;
    // A change that keeps the size: of two letters in a text, or of a comment.
    let letters = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        if let Some(place) =
            bytes.iter().rposition(|b| b.is_ascii_lowercase()).filter(|_| !name.ends_with(".go"))
        {
            bytes[place] = b'a' + u8::try_from(number % 26).unwrap();
        }
        let text = String::from_utf8(bytes).unwrap();
        match text.find("\"one\"").or_else(|| text.find("\"two\"")) {
            Some(at) => format!(
                "{}{}{}",
                &text[..at],
                if number.is_multiple_of(2) { "\"one\"" } else { "\"two\"" },
                &text[at + 5..]
            ),
            None => text,
        }
    };
    let what;
    match dice.roll(24) {
        0 => {
            what = format!("a comment in {name}");
            let slashes = if name.ends_with(".txt") { "" } else { "//" };
            sandbox.write(name, &format!("{text}{slashes}{number}\n"));
        }
        1 | 2 => {
            what = "another text in main".to_owned();
            let main = std::fs::read_to_string(at("cmd/app/main.go")).unwrap();
            let old = main
                .lines()
                .find(|l| l.starts_with("const text"))
                .unwrap_or("const text = \"one\"")
                .to_owned();
            sandbox.write("cmd/app/main.go", &main.replace(&old, &format!("const text = \"{number}\"")));
        }
        3 => {
            what = "another package's text".to_owned();
            sandbox.write("greet/extra.go", &format!("package greet\n\nconst extra = \"{number}\"\n"));
        }
        4 => {
            what = format!("touch {name}");
            set_time(name, SystemTime::now());
        }
        5 => {
            what = format!("set the time of {name} back");
            set_time(name, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        }
        6 => {
            what = format!("the same by another file over {name}");
            sandbox.write("../new", &text);
            std::fs::rename(at("../new"), at(name)).unwrap();
        }
        7 => {
            what = format!("another file over {name}");
            sandbox.write("../new", &letters(&text));
            std::fs::rename(at("../new"), at(name)).unwrap();
        }
        8 | 9 => {
            what = format!("the same size, and the time put back: {name}");
            let time = std::fs::metadata(at(name)).and_then(|m| m.modified());
            sandbox.write(name, &letters(&text));
            if let Ok(time) = time {
                set_time(name, time);
            }
        }
        10 => {
            what = "a further embedded file".to_owned();
            sandbox.write(&format!("cmd/app/static/deep/new{}.txt", number % 3), &number.to_string());
        }
        11 => {
            what = "a further page".to_owned();
            sandbox.write(&format!("cmd/app/pages/new{}.txt", number % 3), &number.to_string());
        }
        12 => {
            what = "no further embedded files".to_owned();
            for number in 0..3 {
                let _ = std::fs::remove_file(at(&format!("cmd/app/static/deep/new{number}.txt")));
                let _ = std::fs::remove_file(at(&format!("cmd/app/pages/new{number}.txt")));
            }
        }
        13 => {
            what = "a workspace around, or none".to_owned();
            if std::fs::remove_file(at("../go.work")).is_err() {
                sandbox.write("../go.work", "go 1.24\n\nuse ./app\nuse ./other\n");
                sandbox.write("../other/go.mod", "module example.com/local\n\ngo 1.24\n");
                sandbox
                    .write("../other/other.go", "package local\n\nfunc Name() string { return \"other\" }\n");
                // A workspace's module and a replacement of it exclude each other.
                sandbox.write("go.mod", "module example.com/app\n\ngo 1.24\n");
            } else {
                sandbox.write(
                    "go.mod",
                    "module example.com/app\n\ngo 1.24\n\nrequire example.com/local v0.0.0\n\n\
                     replace example.com/local => ../local\n",
                );
            }
        }
        14 => {
            what = "another version of the language".to_owned();
            sandbox.write(
                "go.mod",
                &text_of(&at("go.mod")).replace("go 1.24\n", &format!("go 1.2{}\n", 3 + number % 2)),
            );
        }
        15 => {
            what = "the file of other builds counts, or not".to_owned();
            let text = text_of(&at("greet/off.go"));
            let on = text.replace("//go:build ignore\n\n", "");
            sandbox
                .write("greet/off.go", &if on == text { format!("//go:build ignore\n\n{text}") } else { on });
        }
        16 => {
            what = "a source for tests, and one for another system".to_owned();
            sandbox.write("greet/greet_test.go", &format!("package greet // {number}\n"));
            sandbox.write("greet/greet_windows.go", &format!("package greet // {number}\n"));
        }
        17 => {
            what = "a broken source, or not".to_owned();
            if std::fs::remove_file(at("greet/broken.go")).is_err() {
                sandbox.write("greet/broken.go", "package greet\n\nfunc {\n");
            }
        }
        18 => {
            what = "a module of its own in a package, or not".to_owned();
            if std::fs::remove_file(at("greet/go.mod")).is_err() {
                sandbox.write("greet/go.mod", "module example.com/elsewhere\n");
            }
        }
        19 => {
            what = "a link in place of a source".to_owned();
            let target = at("../linked.go");
            let text = text_of(&at("greet/extra.go"));
            let _ = std::fs::remove_file(at("greet/extra.go"));
            std::fs::write(&target, text).unwrap();
            std::os::unix::fs::symlink("../../linked.go", at("greet/extra.go")).unwrap();
        }
        20 => {
            what = "a vendor directory, or none".to_owned();
            if std::fs::remove_dir_all(at("vendor")).is_err() {
                let _ = sandbox.run("go mod vendor");
            }
        }
        21 => {
            let flags = ["-modcacherw", "-modcacherw -tags=x", "-modcacherw -ldflags=-s"][number % 3];
            return (sandbox.env("GOFLAGS", flags), format!("GOFLAGS={flags}"));
        }
        22 => {
            let value = ["", "nogreenteagc"][number % 2];
            return (sandbox.env("GOEXPERIMENT", value), format!("GOEXPERIMENT={value}"));
        }
        _ => what = "nothing".to_owned(),
    }
    (sandbox, what)
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Edits and builds in turn: what comes out must always be what a build without memos makes. Gives how often the memo
/// was used.
fn edits(seed: u64, count: usize) -> usize {
    let (mut sandbox, mut dice) = (project(), Dice(seed));
    let (mut history, mut recalled) = (Vec::new(), 0);
    for round in 0..count {
        let (edited, what) = edit(sandbox, &mut dice);
        sandbox = edited;
        history.push(what);
        // In some rounds the edit is old when it is built, in most it is not.
        if dice.roll(6) == 0 {
            settle();
        }
        let ran = sandbox.run("gimg build ./cmd/app");
        let again = sandbox.run("gimg build ./cmd/app");
        let clean = sandbox.run("gimg build ./cmd/app --no-cache --output oci:../clean");
        let story =
            || format!("seed {seed}, after edit {round}: {history:#?}\n{}\n{}", ran.stderr, clean.stderr);
        assert_eq!((ran.code, again.code), (clean.code, clean.code), "{}", story());
        if ran.code == 0 {
            assert_eq!(ran.digest(), clean.digest(), "{}", story());
            assert_eq!(again.digest(), clean.digest(), "a second time: {}", story());
            recalled += usize::from(is_recalled(&ran)) + usize::from(is_recalled(&again));
        }
    }
    recalled
}

#[test]
fn after_random_edits_the_image_is_that_of_a_clean_build() {
    let recalled = edits(0x9E37_79B9_7F4A_7C15, 24);
    assert!(recalled > 0, "the memo was never used");
}

/// Runs 520 edits, side by side.
pub(crate) fn at_once(edits: fn(u64, usize) -> usize) -> usize {
    std::thread::scope(|scope| {
        let seeds = (1..=4_u64).map(|n| n.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let runs: Vec<_> = seeds.map(|seed| scope.spawn(move || edits(seed, 130))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    })
}

#[test]
#[ignore = "soak: five hundred edits, two builds each"]
fn soak_five_hundred_random_edits() {
    let start = std::time::Instant::now();
    let recalled = at_once(edits);
    println!("520 edits, all as a clean build; the memo was used {recalled} times; {:?}", start.elapsed());
    assert!(recalled > 100, "the memo was used {recalled} times");
}
