//! Tests of this module.

#![expect(clippy::disallowed_methods, reason = "tests run the real `go` as the oracle")]

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// Compiles one tiny program for `os/arch`, with further environment.
fn compile(dir: &Path, os: &str, arch: &str, env: &[(&str, &str)]) -> PathBuf {
    fs::write(dir.join("go.mod"), "module example.com/tiny\n\ngo 1.21\n").unwrap();
    // No imports: the runtime alone compiles fast for every platform.
    fs::write(dir.join("main.go"), "package main\n\nfunc main() { println(\"hello\") }\n").unwrap();
    let out = dir.join(format!("{os}-{arch}"));
    let run = Command::new("go")
        .args(["build", "-trimpath", "-ldflags=-s -w -X \"main.x=a b\"", "-o"])
        .arg(&out)
        .arg(".")
        .current_dir(dir)
        .env("GOOS", os)
        .env("GOARCH", arch)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOTOOLCHAIN", "local")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert!(run.status.success(), "{os}/{arch}: {}", String::from_utf8_lossy(&run.stderr));
    out
}

/// `go version -m` as lines without the path.
fn oracle(binary: &Path) -> Vec<String> {
    let run = Command::new("go").args(["version", "-m"]).arg(binary).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    let text = text.replacen(&binary.display().to_string(), "", 1);
    text.lines().map(|line| line.trim().trim_start_matches(": ").to_owned()).collect()
}

fn as_go_prints(info: &BuildInfo) -> Vec<String> {
    let mut lines = vec![info.go_version.clone(), format!("path\t{}", info.path)];
    let main = info.main.as_ref().unwrap();
    lines.push(format!("mod\t{}\t{}", main.path, main.version));
    for (key, value) in &info.settings {
        let quoted = if value.contains([' ', '"']) { format!("{value:?}") } else { value.clone() };
        lines.push(format!("build\t{key}={quoted}"));
    }
    lines
}

#[test]
fn real_binaries_say_what_go_version_says() {
    let dir = tempfile::tempdir().unwrap();
    for (os, arch, format, bits, little) in [
        ("linux", "amd64", Format::Elf, 64, true),
        ("linux", "386", Format::Elf, 32, true),
        ("linux", "arm", Format::Elf, 32, true),
        ("linux", "arm64", Format::Elf, 64, true),
        ("linux", "s390x", Format::Elf, 64, false),
        ("linux", "mips", Format::Elf, 32, false),
        ("windows", "amd64", Format::Pe, 64, true),
        ("windows", "386", Format::Pe, 32, true),
        ("darwin", "arm64", Format::MachO, 64, true),
        ("wasip1", "wasm", Format::Wasm, 0, true),
    ] {
        let path = compile(dir.path(), os, arch, &[("GOARM", "6")]);
        let header = inspect(File::open(&path).unwrap()).unwrap();
        let found = (header.format, header.architecture, header.bits, header.little_endian);
        assert_eq!(found, (format, Some(arch), bits, little), "{os}/{arch}");
        assert!(!header.needs_loader(), "{os}/{arch}");
        check(&header, &Platform::new(os, arch)).unwrap();
        if format == Format::Wasm {
            continue;
        }
        let info = header.build_info.as_ref().unwrap();
        assert_eq!(as_go_prints(info), oracle(&path), "{os}/{arch}");
        assert_eq!(info.setting("GOARCH"), Some(arch));
        let wrong = check(&header, &"linux/riscv64".parse().unwrap()).unwrap_err();
        assert_eq!(wrong.kind(), Kind::Input);
        if arch == "arm" {
            check(&header, &"linux/arm/v7".parse().unwrap()).unwrap();
            let wrong = check(&header, &"linux/arm/v5".parse().unwrap()).unwrap_err().to_string();
            assert!(wrong.contains("GOARM=6, the platform is linux/arm/v5"), "{wrong}");
        }
        if os == "linux" && arch == "amd64" {
            let wrong = check(&header, &"linux/arm64".parse().unwrap()).unwrap_err().to_string();
            assert!(wrong.contains("it is ELF amd64, the platform is linux/arm64"), "{wrong}");
            let wrong = check(&header, &"freebsd/amd64".parse().unwrap()).unwrap_err().to_string();
            assert!(wrong.contains("GOOS=linux"), "{wrong}");
        }
    }
}

/// An ELF header alone: enough for what it says about the CPU.
fn elf(machine: u16, wide: bool, little: bool) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 2 - u8::from(little), 1]);
    let number = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    // An executable: ET_EXEC.
    bytes[16..18].copy_from_slice(&number(2));
    bytes[18..20].copy_from_slice(&number(machine));
    bytes
}

#[test]
fn every_linux_architecture_of_go_is_known() {
    for (machine, wide, little, arch) in [
        (62, true, true, Some("amd64")),
        (3, false, true, Some("386")),
        (40, false, true, Some("arm")),
        (183, true, true, Some("arm64")),
        (21, true, false, Some("ppc64")),
        (21, true, true, Some("ppc64le")),
        (8, false, false, Some("mips")),
        (8, false, true, Some("mipsle")),
        (8, true, false, Some("mips64")),
        (8, true, true, Some("mips64le")),
        (243, true, true, Some("riscv64")),
        (22, true, false, Some("s390x")),
        (258, true, true, Some("loong64")),
        (62, false, true, None),
        (2, true, false, None),
    ] {
        let header = inspect(Cursor::new(elf(machine, wide, little))).unwrap();
        assert_eq!((header.format, header.architecture), (Format::Elf, arch), "{machine}");
    }
}

#[test]
fn what_is_no_executable_is_unknown() {
    let (mut object, mut core) = (elf(62, true, true), elf(62, true, true));
    (object[16], core[16]) = (1, 4);
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\necho hello, not a binary\n", &[0; 100], &object, &core] {
        let header = inspect(Cursor::new(bytes)).unwrap();
        assert_eq!(header.format, Format::Unknown);
        let error = check(&header, &Platform::new("linux", "amd64")).unwrap_err().to_string();
        assert!(error.contains("it is no executable"), "{error}");
    }
}

/// A file of 1 TiB: an ELF header with these bytes in it, then zeros.
struct Huge(u64, Vec<u8>);

impl Read for Huge {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = usize::try_from(self.0).ok().and_then(|at| self.1.get(at).copied()).unwrap_or(0);
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

impl Seek for Huge {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0 = match to {
            std::io::SeekFrom::Start(at) => at,
            std::io::SeekFrom::End(_) => 1 << 40,
            std::io::SeekFrom::Current(_) => self.0,
        };
        Ok(self.0)
    }
}

#[test]
fn hostile_sizes_take_no_memory() {
    // A loader's name of half a terabyte.
    let mut segment = elf(62, true, true);
    segment[32..40].copy_from_slice(&64_u64.to_le_bytes());
    segment[54..58].copy_from_slice(&[56, 0, 1, 0]);
    segment.extend_from_slice(&3_u64.to_le_bytes());
    segment.extend_from_slice(&[0; 24]);
    segment.extend_from_slice(&(1_u64 << 39).to_le_bytes());
    segment.extend_from_slice(&[0; 16]);
    assert_eq!(inspect(Huge(0, segment)).unwrap_err().kind(), Kind::Input);
    // As many sections as an ELF header can say, in a section of its own.
    let mut sections = elf(62, true, true);
    sections[40..48].copy_from_slice(&64_u64.to_le_bytes());
    sections[58..60].copy_from_slice(&[64, 0]);
    sections.extend_from_slice(&[0; 32]);
    sections.extend_from_slice(&u64::from(u32::MAX).to_le_bytes());
    assert_eq!(inspect(Huge(0, sections)).unwrap_err().kind(), Kind::Input);
}

#[test]
fn a_loader_is_noticed() {
    // This test's own binary is linked against libc.
    let exe = std::env::current_exe().unwrap();
    let header = inspect(File::open(exe).unwrap()).unwrap();
    assert_eq!((header.format, header.build_info.as_ref()), (Format::of_os(std::env::consts::OS), None));
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        assert!(header.needs_loader());
        assert!(header.interpreter.unwrap().starts_with("/lib"));
    }
}

proptest::proptest! {
    #[test]
    fn fuzz_inspect_never_panics(
        kind in 0_usize..6,
        body in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
    ) {
        let magic: [&[u8]; 6] = [
            b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x02\x01", b"MZ", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce", b"",
        ];
        let _ = inspect(Cursor::new([magic[kind], &body].concat()));
    }
}

/// Compiles a program of two packages for `arch`.
fn two_packages(dir: &Path, arch: &str, main: &str, greet: &str, ldflags: &str) -> Vec<u8> {
    fs::create_dir_all(dir.join("greet")).unwrap();
    fs::write(dir.join("go.mod"), "module example.com/two\n\ngo 1.21\n").unwrap();
    fs::write(dir.join("main.go"), format!("package main\n\nimport \"example.com/two/greet\"\n\n{main}\n"))
        .unwrap();
    fs::write(dir.join("greet/greet.go"), format!("package greet\n\n{greet}\n")).unwrap();
    let out = dir.join("out");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", &format!("-ldflags={ldflags}"), "-o"]).arg(&out).arg(".").current_dir(dir);
    go.env("GOOS", "linux").env("GOARCH", arch).env("CGO_ENABLED", "0");
    let run = go.env("GOFLAGS", "-buildvcs=false").env("GOTOOLCHAIN", "local").output().unwrap();
    assert!(run.status.success(), "{arch}: {}", String::from_utf8_lossy(&run.stderr));
    fs::read(out).unwrap()
}

#[test]
fn functions_whose_code_differs_are_named_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let main = "func main() { println(greet.Line(1)) }";
    let greet = "var Name = \"x\"\n\n//go:noinline\nfunc Line(n int) int { return n + len(Name) }\n\n//go:noinline\nfunc Last(n int) int { return n * 3 }\n\nfunc init() { println(Last(2)) }";
    for arch in ["amd64", "arm64", "386", "riscv64"] {
        let build = |main: &str, greet: &str| two_packages(dir.path(), arch, main, greet, "-s -w");
        let first = build(main, greet);
        let functions = |now: &[u8]| {
            let found = diff::compare(&first, now).unwrap();
            assert!(found.has_functions && !found.is_only_symbols());
            let names = found.functions.values().flatten().map(|(name, change)| format!("{change:?} {name}"));
            (names.collect::<Vec<_>>(), found.lines.into_iter().collect::<Vec<_>>())
        };
        let none = Vec::<String>::new;
        // A function grows, and all that comes after it moves.
        let longer = greet.replace("n + len", "(n^77)*(n+5)*(n-9) + (n>>3) + len");
        let changed = "Changed example.com/two/greet.Line".to_owned();
        assert_eq!(functions(&build(main, &longer)), (vec![changed], none()), "{arch}");
        let new = greet
            .replace("func init()", "//go:noinline\nfunc New() int { return len(Name) * 2 }\n\nfunc init()");
        let new = new.replace("Last(2)", "Last(New())");
        let (found, _) = functions(&build(main, &new));
        assert!(found.contains(&"Added example.com/two/greet.New".to_owned()), "{arch}: {found:?}");
        assert!(found.iter().all(|name| name.contains("example.com/two/greet.")), "{arch}: {found:?}");
        // A line more above: nothing but numbers of lines.
        let lower = greet.replace("var Name", "\n\nvar Name");
        assert_eq!(
            functions(&build(main, &lower)),
            (none(), vec!["example.com/two/greet".to_owned()]),
            "{arch}"
        );
        // A constant: nothing moves.
        let constant = greet.replace("n * 3", "n * 7");
        let changed = "Changed example.com/two/greet.Last".to_owned();
        // Elsewhere one of the same length shows in the section alone.
        if ["amd64", "arm64"].contains(&arch) {
            assert_eq!(functions(&build(main, &constant)), (vec![changed], none()), "{arch}");
        }
        // A text, of the same length.
        let build = |text: &str| {
            two_packages(
                dir.path(),
                arch,
                &format!(
                    "func main() {{ println(greet.Line(1)); println(\"{text}\"); var a any = \"{text}\"; _ = a }}"
                ),
                greet,
                "-s -w",
            )
        };
        let (one, other) = (build("first text"), build("other text"));
        let found = diff::compare(&one, &other).unwrap();
        assert!(!found.sections.is_empty(), "{arch}");
        if ["amd64", "arm64"].contains(&arch) {
            let names: Vec<_> = found.functions.values().flatten().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["main.main"], "{arch}");
        }
        // A name that the linker sets is data.
        let set = two_packages(dir.path(), arch, main, greet, "-s -w -X example.com/two/greet.Name=y");
        assert_eq!(functions(&set), (none(), none()), "{arch}");
    }
    let plain = two_packages(dir.path(), "amd64", main, greet, "");
    let stripped = two_packages(dir.path(), "amd64", main, greet, "-s -w");
    let found = diff::compare(&plain, &stripped).unwrap();
    assert!(found.is_only_symbols() && found.functions.is_empty(), "{found:?}");
    assert_eq!(diff::compare(&plain, b"no program"), None);
}

#[test]
fn fuzz_the_parts_of_a_damaged_program_are_still_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (main, greet) = ("func main() { println(greet.Line(1)) }", "func Line(n int) int { return n }");
    let program = two_packages(dir.path(), "amd64", main, greet, "-s -w");
    let sizes = |bytes: &[u8]| {
        let found = sizes::sizes(Cursor::new(bytes)).unwrap();
        let parts = found.sections.iter().map(|section| section.size).chain(found.packages.values().copied());
        assert_eq!((parts.sum::<u64>(), found.total), (bytes.len() as u64, bytes.len() as u64));
        found.packages.len()
    };
    let whole = sizes(&program);
    assert!(whole > 3, "{whole}");
    let table = program.windows(8).position(|bytes| bytes == [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]).unwrap();
    let sections = usize::try_from(u64::from_le_bytes(program[40..48].try_into().unwrap())).unwrap();
    let mut damaged = 0;
    let mut number = 1_u64;
    for round in 0..600 {
        // Knuth's MMIX: the same numbers every time.
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(number >> 33).unwrap()
        };
        let (from, room) = [(0, 64), (sections, 1500), (table, 80), (table, 4000)][round % 4];
        let mut bytes = program.clone();
        for _ in 0..1 + next() % 3 {
            let at = (from + next() % room).min(bytes.len() - 1);
            bytes[at] = next().to_le_bytes()[0];
        }
        damaged += usize::from(sizes(&bytes) != whole);
    }
    assert!(damaged > 50, "{damaged}");
    (0..4000).step_by(7).for_each(|end| assert_eq!(sizes(&program[..end]), 0));
}
