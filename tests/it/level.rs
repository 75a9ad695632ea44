//! The layout level: every byte of an image that follows from its inputs, down to the digests, for programs that are no
//! more than a header. A change here is another level; the old one must stay.

use std::fmt::Write as _;

use serde_json::Value;

use super::house::fresh;
use crate::support::{Layout, Sandbox};

/// A program for `machine` (ELF, `e_machine`) without anything in it, padded so that compression has work.
fn program(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    // Entry; program headers, section headers: none.
    bytes.extend([0_u64; 3].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend([64_u16, 56, 0, 64, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    assert_eq!(bytes.len(), 64);
    let mut state = u32::from(machine);
    for number in 0..1_500_000_u32 {
        // Neither all alike nor noise.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push(if number % 7 < 4 { b'a' + (number % 11) as u8 } else { (state >> 24) as u8 });
    }
    bytes
}

fn project() -> Sandbox {
    let sandbox =
        Sandbox::new().env("SOURCE_DATE_EPOCH", "1700000000").env("KO_DATA_DATE_EPOCH", "1600000000");
    std::fs::write(sandbox.path("src/amd64"), program(62)).unwrap();
    std::fs::write(sandbox.path("src/arm64"), program(183)).unwrap();
    sandbox.write("data/a.txt", "a");
    sandbox.write(&format!("data/{}/b.txt", "long".repeat(40)), "b");
    sandbox.write("etc/app.conf", "conf\n");
    sandbox
}

/// Everything that an image says, as text, but for what is in the `inherited` lowest layers.
fn dump(layout: &Layout, inherited: usize) -> String {
    let mut text = String::new();
    let index = &layout.index()["manifests"][0];
    writeln!(text, "root {} {}", index["mediaType"].as_str().unwrap(), index["digest"].as_str().unwrap())
        .unwrap();
    for (platform, manifest) in layout.images() {
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        writeln!(text, "{platform} manifest {}", pretty(&manifest)).unwrap();
        writeln!(text, "{platform} config {}", pretty(&layout.document(&manifest["config"]))).unwrap();
        let own = manifest["layers"].as_array().unwrap().iter().enumerate().skip(inherited);
        for (number, layer) in own {
            for (name, e) in layout.entries(layer) {
                writeln!(
                    text,
                    "{platform} {number} {} {:04o} {}:{} {} {} {} {name} {}",
                    e.kind, e.mode, e.uid, e.gid, e.mtime, e.size, e.sha256, e.link
                )
                .unwrap();
            }
        }
    }
    text
}

#[test]
fn level_1_is_what_it_was() {
    let config = "files:\n- from: etc/\n  to: /etc/app/\n  mode: \"0640\"\n  owner: \"7:8\"\nimage:\n  user: \"1001\"\n  \
                  workingDir: /srv\n  env:\n    A: b\n  cmd: [serve, --all]\n  exposedPorts: [\"80\"]\n  stopSignal: SIGINT\n  \
                  labels:\n    level: one\n";
    let mut text = String::new();
    for (what, config, flags) in [
        ("static, gzip, both platforms, files, kodata", config, "--base static@1 --kodata data"),
        ("static, zstd", "", "--base static@1 --compression zstd"),
        ("scratch, plain, an annotation", "", "--base scratch --compression none --image-annotation a=b"),
    ] {
        let sandbox = project();
        if !config.is_empty() {
            sandbox.write(".gimg.yaml", config);
        }
        let programs = "--binary linux/amd64=amd64 --binary linux/arm64=arm64 --program app --import-path example.com/app";
        sandbox.run(&format!("gimg pack {programs} {flags} --output oci:out")).ok();
        let inherited = usize::from(flags.contains("static"));
        let dumped = dump(&Layout::at(sandbox.path("src/out")), inherited);
        writeln!(text, "## {what}\n{dumped}").unwrap();
    }
    fresh("testdata/golden/level-1.txt", &text);
}
