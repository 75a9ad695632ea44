//! Programs of images for other processors, run by qemu out of what the layers make.

use std::path::PathBuf;

use serde_json::Value;

use super::rootfs::{chroot, extract};
use super::{Layout, Sandbox, tool};

/// The emulator for an architecture; none where this machine's processor is to run it.
///
/// An x86-64 runs 386 itself: before 8.0 qemu's threads of a 386 share their table of segments, by which Go finds its own
/// thread, so that programs of Go end in "bad g in signal handler" or "morestack on gsignal".
fn emulator(architecture: &str) -> Option<PathBuf> {
    let processor = match architecture {
        "386" if cfg!(target_arch = "x86_64") => return None,
        "386" => "i386",
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        same => same,
    };
    // The tools are links; this is a file that works wherever it lies.
    Some(std::fs::canonicalize(tool(&format!("qemu-{processor}"))).unwrap())
}

/// Unpacks an image of the layout `layout` (below `src`) whose manifest is `manifest`, and runs its entry point in there,
/// as the user and with the variables of its config. Gives all that it prints; it must succeed.
#[track_caller]
pub(crate) fn run(sandbox: &Sandbox, layout: &str, manifest: &Value, args: &[&str]) -> String {
    let config = Layout::at(sandbox.path("src").join(layout)).document(&manifest["config"]);
    let hex = manifest["config"]["digest"].as_str().unwrap().replace(':', "-");
    let (folder, root) = (format!("root-{hex}"), sandbox.path("src").join(format!("root-{hex}")));
    if !root.exists() {
        std::fs::create_dir(&root).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            extract(sandbox, layout, layer, &folder);
        }
    }
    let program = config["config"]["Entrypoint"][0].as_str().unwrap();
    let mut command = match emulator(config["architecture"].as_str().unwrap()) {
        Some(emulator) => {
            std::fs::copy(emulator, root.join("emulator")).unwrap();
            let mut command = chroot(&root, &config["config"], "/emulator");
            command.arg(program);
            command
        }
        None => chroot(&root, &config["config"], program),
    };
    let output = command.args(args).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{}: {said}", config["architecture"]);
    said
}
