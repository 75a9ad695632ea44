//! Programs for processors that this machine doesn't have find everything in their images: each runs out of its layers
//! under qemu's emulator. That any program runs on each is in `platforms.rs`.

use serde_json::Value;

use crate::support::{Layout, Sandbox, emulator};

/// In the order of the index; what Go calls the variant.
const PLATFORMS: [(&str, &str); 8] = [
    ("linux/386", "GO386=sse2"),
    ("linux/amd64/v3", "GOAMD64=v3"),
    ("linux/arm/v6", "GOARM=6"),
    ("linux/arm/v7", "GOARM=7"),
    ("linux/arm64", "GOARM64=v8.0"),
    ("linux/ppc64le", "GOPPC64=power8"),
    ("linux/riscv64", "GORISCV64=rva20u64"),
    ("linux/s390x", ""),
];

/// Says what it was built for, and what it finds in the image: data, a time zone, certificates, who runs it.
const PROGRAM: &str = r#"package main

import (
	"crypto/x509"
	_ "embed"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

//go:embed embedded.txt
var embedded string

func main() {
	fmt.Println(runtime.GOOS+"/"+runtime.GOARCH, os.Args[1:])
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if strings.HasPrefix(setting.Key, "GO"+strings.ToUpper(runtime.GOARCH[:3])) {
			fmt.Println(setting.Key + "=" + setting.Value)
		}
	}
	data, err := os.ReadFile(filepath.Join(os.Getenv("KO_DATA_PATH"), "note.txt"))
	check(err)
	fmt.Print(embedded, string(data))
	zone, err := time.LoadLocation("Asia/Shanghai")
	check(err)
	fmt.Println(time.Unix(0, 0).In(zone).Format(time.RFC3339))
	roots, err := x509.SystemCertPool()
	check(err)
	who, err := user.Current()
	check(err)
	fmt.Println(len(roots.Subjects()), "certificates, run by", who.Uid)
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}
"#;

#[test]
#[ignore = "integration: compiles much of the standard library for eight platforms, minutes"]
fn integration_programs_find_everything_on_every_processor() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/app\n\ngo 1.21\n")
        .file("main.go", PROGRAM)
        .file("embedded.txt", "embedded\n")
        .file("kodata/note.txt", "a note\n");
    let platforms = PLATFORMS.map(|(platform, _)| platform);
    sandbox.run(&format!("gimg build --platform {} -o oci:image", platforms.join(","))).ok();
    let layout = Layout::at(sandbox.path("src/image"));
    let named = |place: &Value| {
        let parts = ["os", "architecture", "variant"].map(|key| place[key].as_str());
        parts.into_iter().flatten().collect::<Vec<_>>().join("/")
    };
    let root = layout.root();
    let listed: Vec<String> =
        root["manifests"].as_array().unwrap().iter().map(|m| named(&m["platform"])).collect();
    assert_eq!(listed, platforms);
    let (images, certificates) = (layout.images(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    for (platform, setting) in PLATFORMS {
        let manifest = &images[platform];
        assert_eq!(named(&layout.document(&manifest["config"])), platform);
        let target: Vec<&str> = platform.split('/').take(2).collect();
        let mut expected = vec![format!("{} [one two]", target.join("/"))];
        expected.extend((!setting.is_empty()).then(|| setting.to_owned()));
        expected.extend(["embedded", "a note", "1970-01-01T08:00:00+08:00"].map(str::to_owned));
        expected.push(format!("{certificates} certificates, run by 65532"));
        let said = emulator::run(&sandbox, "image", manifest, &["one", "two"]);
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{platform}");
    }
}
