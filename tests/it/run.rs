//! The image works: its program runs and finds data, certificates, time zones and users; nothing of the base is
//! changed by what gimg puts over it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::https::{Https, authority};
use crate::support::rootfs::{self, Files, chroot, extract, is_root, on_disk, unpack};
use crate::support::{Layout, Sandbox, root, tool};

/// An unpacked image of hello and its config.
struct Unpacked {
    sandbox: Sandbox,
    root: PathBuf,
    config: Value,
}

impl Unpacked {
    fn new(platform: &str) -> Self {
        let sandbox = Sandbox::go("hello");
        sandbox.run(&format!("gimg build ./cmd/hello --platform {platform} --output oci:image")).ok();
        let layout = Layout::at(sandbox.path("src/image"));
        let config = layout.document(&layout.root()["config"])["config"].clone();
        let root = unpack(&sandbox, "image");
        Unpacked { sandbox, root, config }
    }

    /// Runs the entry point as a container would; gives its output and whether it succeeded.
    fn run(&self, args: &[&str]) -> (String, bool) {
        let program = self.config["Entrypoint"][0].as_str().unwrap();
        let output = chroot(&self.root, &self.config, program).args(args).output().unwrap();
        let all = [output.stdout, output.stderr].concat();
        (String::from_utf8(all).unwrap(), output.status.success())
    }

    fn bundle(&self) -> PathBuf {
        self.root.join("etc/ssl/certs/ca-certificates.crt")
    }
}

/// The platform of this machine.
fn native() -> String {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("linux/{arch}")
}

#[test]
fn the_program_finds_its_data_time_zones_and_user() {
    let image = Unpacked::new(&native());
    let hello = format!("hello from hello dev {}\n", native());
    let note = root().join("testdata/go/hello/cmd/hello/kodata/note.txt");
    let note = std::fs::read_to_string(note).unwrap();
    for (args, said) in [
        (&[][..], ""),
        (&["data", "note.txt"], &note),
        (&["zone", "Asia/Shanghai"], "1970-01-01T08:00:00+08:00\n"),
        (&["user", "nonroot"], "65532 /home/nonroot\n"),
    ] {
        assert_eq!(image.run(args), (format!("{hello}{said}"), true));
    }
}

#[test]
fn another_architecture_runs_under_an_emulator() {
    // The emulator that is installed runs what this machine does not.
    let native_is_arm = cfg!(target_arch = "aarch64");
    let (emulator, arch) = if native_is_arm { ("qemu-x86_64", "amd64") } else { ("qemu-aarch64", "arm64") };
    let image = Unpacked::new(&format!("linux/{arch}"));
    let output = Command::new(tool(emulator)).arg(image.root.join("ko-app/hello")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("hello from hello dev linux/{arch}\n"));
}

#[test]
fn https_is_verified_against_the_bundle_of_the_image() {
    use std::os::unix::fs::PermissionsExt as _;
    let image = Unpacked::new(&native());
    authority(&image.sandbox, "ca");
    let server = Https::start(&image.sandbox, "ca");
    let (said, success) = image.run(&["get", &server.url]);
    assert!(said.contains("certificate signed by unknown authority"), "{said}");
    assert!(!success);
    // The same program and server, with the authority added to the file that the image has.
    let mut bundle = std::fs::read_to_string(image.bundle()).unwrap();
    bundle.push_str(&std::fs::read_to_string(image.sandbox.path("src/ca.crt")).unwrap());
    std::fs::set_permissions(image.bundle(), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(image.bundle(), bundle).unwrap();
    let (said, success) = image.run(&["get", &server.url]);
    assert!(said.contains("\n200 "), "{said}");
    assert!(success);
}

#[test]
fn openssl_takes_every_certificate_of_the_bundle() {
    let image = Unpacked::new(&native());
    let count = webpki_root_certs::TLS_SERVER_ROOT_CERTS.len();
    let bundle = image.bundle();
    let pem = std::fs::read_to_string(&bundle).unwrap();
    let end = "-----END CERTIFICATE-----\n";
    assert_eq!(pem.matches("-----BEGIN CERTIFICATE-----\n").count(), count);
    let run = |line: &str| image.sandbox.run(line).ok().stdout;
    run(&format!("openssl crl2pkcs7 -nocrl -certfile {} -out all.p7", bundle.display()));
    let listed = run("openssl pkcs7 -in all.p7 -print_certs -noout");
    assert_eq!(listed.matches("subject=").count(), count);
    // Each is an authority of its own, and trusted by the bundle.
    let mut files = Vec::new();
    for (number, one) in pem.split_inclusive(end).enumerate() {
        files.push(format!("root{number}.pem"));
        image.sandbox.write(&files[number], one);
    }
    let verify = format!("openssl verify -no_check_time -CAfile {} {}", bundle.display(), files.join(" "));
    assert_eq!(run(&verify).matches(": OK\n").count(), count);
}

/// What was there before is as it was; gives the names of what is new. Times of directories move with their content.
fn only_added(before: &Files, after: &Files) -> Vec<String> {
    let timeless = |files: &Files| -> Files {
        files
            .iter()
            .map(|(name, e)| (name.clone(), crate::support::Entry { mtime: 0, ..e.clone() }))
            .collect()
    };
    let mut kept = after.clone();
    kept.retain(|name, _| before.contains_key(name));
    rootfs::assert_same(&timeless(&kept), &timeless(before));
    after.keys().filter(|name| !before.contains_key(*name)).cloned().collect()
}

/// A base as distributions have it today, with modes and owners that nobody would guess.
fn usr_merged(root: &Path) {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    for (dir, mode) in
        [("usr/bin", 0o755), ("usr", 0o711), ("run", 0o1770), ("var/lib", 0o700), ("var", 0o2751)]
    {
        std::fs::create_dir_all(root.join(dir)).unwrap();
        if is_root() {
            chown(root.join(dir), Some(12), Some(34)).unwrap();
        }
        std::fs::set_permissions(root.join(dir), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::write(root.join("usr/bin/sh"), "shell").unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("../run", root.join("var/run")).unwrap();
}

#[test]
fn layers_over_a_base_add_and_change_nothing_else() {
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/hello --output oci:image").ok();
    let layers = Layout::at(sandbox.path("src/image")).root()["layers"].clone();
    let [built_in, kodata, program] = layers.as_array().unwrap().as_slice() else { panic!("{layers}") };
    for base in ["merged", "static"] {
        let root = sandbox.path(&format!("src/{base}"));
        std::fs::create_dir(&root).unwrap();
        match base {
            "merged" => usr_merged(&root),
            _ => extract(&sandbox, "image", built_in, base),
        }
        let before = on_disk(&root);
        extract(&sandbox, "image", kodata, base);
        extract(&sandbox, "image", program, base);
        let added = only_added(&before, &on_disk(&root));
        let data = ["run/ko", "run/ko/note.txt", "run/ko/sub", "run/ko/sub/deep.txt"];
        assert_eq!(added, [&["ko-app", "ko-app/hello"][..], &data].concat(), "over {base}");
    }
}
