//! Long runs: large inputs in bounded memory.

use crate::support::{Layout, Sandbox};

#[test]
#[ignore = "soak: writes 100,000 files"]
fn soak_a_hundred_thousand_files_of_kodata() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/many\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    for folder in 0..100 {
        for file in 0..1000 {
            sandbox.write(&format!("kodata/{folder:02}/{file:03}"), &format!("{folder} {file}\n"));
        }
    }
    sandbox.run("gimg build").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/many"));
    let manifest = layout.root();
    let entries = layout.entries(&manifest["layers"][1]);
    assert_eq!(entries.len(), 1 + 100 + 100_000);
    // GNU tar reads the same names.
    let hex = manifest["layers"][1]["digest"].as_str().unwrap().replace("sha256:", "");
    let listed = sandbox.run(&format!("tar -tzf gimg-out/many/blobs/sha256/{hex}")).ok();
    assert!(listed.lines().iter().copied().eq(entries.keys().map(String::as_str)));
}
