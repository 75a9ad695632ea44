//! The subjects: programs to build, copied or generated into folders of ours, and the changes that are made to them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::settings::command;

/// A tree with programs.
#[derive(Debug, PartialEq)]
pub(crate) struct Subject {
    /// Its name in tables and for ONLY.
    pub(crate) name: &'static str,
    source: Source,
    /// The folder of the main package that gets changed, and whose kodata.
    main: &'static str,
    /// The folder and name of a package that much of the module imports.
    deep: (&'static str, &'static str),
}

/// Where a tree comes from.
#[derive(Debug, PartialEq)]
enum Source {
    /// A module's zip, and the main packages to build.
    Module(&'static str, &'static [&'static str]),
    /// So many programs of about 5 MB that import one package, and so many megabytes of kodata.
    Programs(usize, usize),
}

const fn programs(name: &'static str, count: usize, kodata: usize) -> Subject {
    Subject { name, source: Source::Programs(count, kodata), main: "cmd/p00", deep: ("words", "words") }
}

pub(crate) static HELLO: Subject = programs("hello", 1, 0);
pub(crate) static IMAGES_1: Subject = programs("images-1", 1, 0);
pub(crate) static IMAGES_4: Subject = programs("images-4", 4, 0);
pub(crate) static IMAGES_8: Subject = programs("images-8", 8, 0);
pub(crate) static IMAGES_16: Subject = programs("images-16", 16, 0);
pub(crate) static IMAGES_64: Subject = programs("images-64", 64, 0);
pub(crate) static KODATA_10: Subject = programs("kodata-10mb", 1, 10);
pub(crate) static KODATA_100: Subject = programs("kodata-100mb", 1, 100);
pub(crate) static KODATA_300: Subject = programs("kodata-300mb", 1, 300);
pub(crate) static KO: Subject = Subject {
    name: "ko",
    source: Source::Module("github.com/google/ko@v0.19.1", &["."]),
    main: ".",
    deep: ("internal/sbom", "sbom"),
};
pub(crate) static CADDY: Subject = Subject {
    name: "caddy",
    source: Source::Module("github.com/caddyserver/caddy/v2@v2.11.9", &["./cmd/caddy"]),
    main: "cmd/caddy",
    deep: (".", "caddy"),
};
pub(crate) static SERVING: Subject = Subject {
    name: "serving",
    source: Source::Module(
        "knative.dev/serving@v0.42.2",
        &[
            "./cmd/activator",
            "./cmd/autoscaler",
            "./cmd/autoscaler-hpa",
            "./cmd/controller",
            "./cmd/default-domain",
            "./cmd/queue",
            "./cmd/webhook",
        ],
    ),
    main: "cmd/controller",
    deep: ("pkg/apis/autoscaling", "autoscaling"),
};

/// A subject on disk.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) subject: &'static Subject,
    pub(crate) dir: PathBuf,
    /// What to build, as arguments.
    pub(crate) packages: Vec<String>,
}

impl Tree {
    /// Copies or generates the subject into a folder that isn't there yet.
    pub(crate) fn make(subject: &'static Subject, dir: &Path) -> Result<Self> {
        let packages = match &subject.source {
            Source::Module(module, packages) => {
                copy_module(module, dir)?;
                // Downloads the modules that they need.
                let mut list = command("go");
                list.env("GOOS", "linux").args(["list", "-deps"]).args(*packages).current_dir(dir);
                output(&mut list)?;
                packages.iter().map(|&package| package.to_owned()).collect()
            }
            Source::Programs(count, kodata) => {
                generate(*count, dir)?;
                if *kodata > 0 {
                    random(&dir.join("cmd/p00/kodata/large"), *kodata)?;
                }
                (0..*count).map(|n| format!("./cmd/p{n:02}")).collect()
            }
        };
        Ok(Tree { subject, dir: dir.to_owned(), packages })
    }

    /// The same tree elsewhere.
    pub(crate) fn at(&self, dir: &Path) -> Self {
        Tree { dir: dir.to_owned(), ..self.clone() }
    }

    /// One line of the main package says `text`, in a way that the linker has to keep.
    pub(crate) fn change_main(&self, text: &str) -> Result<()> {
        write(&self.dir.join(self.subject.main).join("bench_change.go"), &go_change("main", text))
    }

    /// The same in a package that many import.
    pub(crate) fn change_deep(&self, text: &str) -> Result<()> {
        let (folder, package) = self.subject.deep;
        write(&self.dir.join(folder).join("bench_change.go"), &go_change(package, text))
    }

    /// One line of a data file says `text`.
    pub(crate) fn change_kodata(&self, text: &str) -> Result<()> {
        write(&self.dir.join(self.subject.main).join("kodata/change.txt"), &format!("{text}\n"))
    }

    /// Takes the data away again, if it was only that file.
    pub(crate) fn forget_kodata(&self) -> Result<()> {
        let kodata = self.dir.join(self.subject.main).join("kodata");
        if !kodata.join("large").exists() && kodata.exists() {
            std::fs::remove_dir_all(&kodata).map_err(|e| format!("{}: {e}", kodata.display()))?;
        }
        Ok(())
    }
}

fn go_change(package: &str, text: &str) -> String {
    format!(
        "package {package}\n\nimport \"os\"\n\nfunc init() {{\n\tif len(os.Args) > 100000 {{\n\t\tprintln(\"{text}\")\n\t}}\n}}\n"
    )
}

/// A copy of a module as its author published it, without ko's file, which names bases that are far away.
fn copy_module(module: &str, dir: &Path) -> Result<()> {
    let above = dir.parent().unwrap_or(dir);
    let answer = output(command("go").args(["mod", "download", "-json", module]).current_dir(above))?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| format!("go mod download: {e}"))?;
    let source = answer["Dir"].as_str().ok_or_else(|| format!("{module} cannot be downloaded"))?;
    output(command("cp").arg("-R").arg(source).arg(dir))?;
    output(command("chmod").args(["-R", "u+w"]).arg(dir))?;
    for name in [".ko.yaml", "cmd/.ko.yaml"] {
        let path = dir.join(name);
        if path.exists() {
            std::fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

/// Programs p00, p01, … that import `greet`, which imports `words`.
fn generate(count: usize, dir: &Path) -> Result<()> {
    write(&dir.join("go.mod"), "module example.com/programs\n\ngo 1.21\n")?;
    write(&dir.join("README.md"), "Programs\n")?;
    write(
        &dir.join("words/words.go"),
        "// Package words has words.\npackage words\n\nfunc Hello() string { return \"hello\" }\n",
    )?;
    write(
        &dir.join("greet/greet.go"),
        "// Package greet greets.\npackage greet\n\nimport \"example.com/programs/words\"\n\n\
         func Line(name string) string { return words.Hello() + \" \" + name }\n",
    )?;
    for n in 0..count {
        let program = format!(
            r#"// Command p{n:02} says where it listens, in three ways.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"text/template"

	"example.com/programs/greet"
)

func main() {{
	fmt.Println(greet.Line("p{n:02}"))
	if len(os.Args) < 3 {{
		return
	}}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {{
		fmt.Println(err)
		os.Exit(1)
	}}
	_ = json.NewEncoder(os.Stdout).Encode(listener.Addr())
	_ = template.Must(template.New("").Parse(os.Args[2])).Execute(os.Stdout, listener.Addr())
}}
"#
        );
        write(&dir.join(format!("cmd/p{n:02}/main.go")), &program)?;
    }
    Ok(())
}

/// A file of random bytes, always the same: xorshift from a fixed seed.
fn random(path: &Path, megabytes: usize) -> Result<()> {
    let mut bytes = Vec::with_capacity(megabytes * 1_000_000);
    let mut state: u64 = 2026;
    while bytes.len() < megabytes * 1_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).map_err(|e| format!("{}: {e}", above.display()))?;
    }
    std::fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).map_err(|e| format!("{}: {e}", above.display()))?;
    }
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// What a command says on standard output; an error has the end of what it says else.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ran = command.output().map_err(|e| format!("{name}: {e}"))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    Err(format!("{name}: {}: {}", ran.status, tail(&String::from_utf8_lossy(&ran.stderr))))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
