//! File capabilities: what unpackers write to disk is what the kernel and libcap read.

use std::path::Path;

use gimg::image::{Compression, caps, contents, layer};

use crate::support::Sandbox;
use crate::support::rootfs::is_root;

/// A layer with a program that has these capabilities, as a plain tar.
fn layer_with(terms: &[&str]) -> Vec<u8> {
    let capabilities = caps::parse(terms).unwrap();
    let program =
        contents::ProgramFile { name: "app".into(), path: "/bin/true".into(), size: 4, capabilities };
    let tree = contents::programs("/ko-app", &[program]).unwrap();
    let open = |_: &Path| Ok(Box::new(&b"true"[..]) as Box<dyn std::io::Read>);
    let mut tar = Vec::new();
    layer::write(&tree, Compression::None, 1, &open, &mut tar).unwrap();
    tar
}

#[test]
fn the_attribute_is_a_pax_record_of_the_program_alone() {
    let tar = layer_with(&["net_bind_service=ep"]);
    let mut archive = tar::Archive::new(&tar[..]);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let records = entry.pax_extensions().unwrap();
        let records = records.into_iter().flatten().map(Result::unwrap);
        found.push((
            name,
            records.map(|r| (r.key().unwrap().to_owned(), r.value_bytes().to_owned())).collect::<Vec<_>>(),
        ));
    }
    let value = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let record = ("SCHILY.xattr.security.capability".to_owned(), value);
    assert_eq!(found, [("ko-app/".to_owned(), vec![]), ("ko-app/app".to_owned(), vec![record])]);
    assert_eq!(layer_with(&[]), layer_with(&["chown=e"]), "nothing permitted or inheritable is no attribute");
}

/// The attribute of a file on disk.
fn attribute(path: &Path) -> Vec<u8> {
    let mut value = vec![0; 64];
    let length = rustix::fs::lgetxattr(path, caps::XATTR, &mut value[..]).unwrap_or_else(|e| panic!("{e}"));
    value.truncate(length);
    value
}

#[test]
fn unpackers_write_the_attribute_that_the_kernel_and_libcap_read() {
    if !is_root() {
        println!("not checked: only root can set file capabilities");
        return;
    }
    for (terms, text) in [
        (&["net_bind_service=ep"][..], "cap_net_bind_service=ep"),
        (&["chown", "NET_RAW", "bpf"], "cap_chown,cap_net_raw,cap_bpf=p"),
        (&["cap_sys_admin=i"], "cap_sys_admin=i"),
    ] {
        let sandbox = Sandbox::new();
        std::fs::write(sandbox.path("src/layer.tar"), layer_with(terms)).unwrap();
        std::fs::create_dir(sandbox.path("src/by-tar")).unwrap();
        sandbox.run("tar --xattrs --xattrs-include=security.capability -xf layer.tar -C by-tar").ok();
        for line in [
            "umoci init --layout image",
            "umoci new --image image:t",
            "umoci raw add-layer --image image:t layer.tar",
            "umoci unpack --image image:t by-umoci",
        ] {
            sandbox.run(line).ok();
        }
        for app in ["by-tar/ko-app/app", "by-umoci/rootfs/ko-app/app"] {
            let path = sandbox.path("src").join(app);
            assert_eq!(attribute(&path), caps::parse(terms).unwrap().unwrap(), "{app}");
            if Path::new("/usr/sbin/getcap").exists() {
                let ran = sandbox.run(&format!("/usr/sbin/getcap {app}")).ok();
                assert_eq!(ran.stdout.trim(), format!("{app} {text}"));
            }
        }
    }
}
