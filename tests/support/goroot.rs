//! Toolchains of Go with a tool that does something else as well.

use std::path::PathBuf;
use std::process::Command;

use super::Sandbox;

/// Where Go is.
fn goroot() -> PathBuf {
    let output = Command::new("go").args(["env", "GOROOT"]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The go of a toolchain that is a copy, of hard links where that can be, but for the tool of this name: that begins with this
/// script of bash.
pub(crate) fn with_tool(sandbox: &Sandbox, name: &str, script: &str) -> PathBuf {
    let (root, copy) = (goroot(), sandbox.path("goroot"));
    let copied = Command::new("cp").arg("-aL").arg("--reflink=auto").arg("-l").arg(&root).arg(&copy).status();
    if !copied.unwrap().success() {
        // Another disk.
        let _ = std::fs::remove_dir_all(&copy);
        assert!(Command::new("cp").arg("-a").arg(&root).arg(&copy).status().unwrap().success());
    }
    let tools = std::fs::read_dir(copy.join("pkg/tool")).unwrap().next().unwrap().unwrap().path();
    let tool = tools.join(name);
    let real = tools.join("real").join(name);
    std::fs::create_dir(tools.join("real")).unwrap();
    std::fs::rename(&tool, &real).unwrap();
    let text = format!("#!/bin/bash\n{script}\nexec '{}' \"$@\"\n", real.display());
    std::fs::write(&tool, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, mode).unwrap();
    copy.join("bin/go")
}
