//! The GitHub Action, the GitLab component and the examples for other systems, run as those would: their steps as shell, with
//! the variables that a CI system sets, against a registry that wants a login.

mod examples;
mod github;
mod gitlab;
mod runner;
mod schemas;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::support::canary::SECRET;
use crate::support::registry::{Auth, Config, TestRegistry};
use crate::support::{Sandbox, root, sha256, yaml};

/// What makes a shell do something where it reads a value as its own language.
const HOSTILE: &str =
    "$(touch pwned) `touch pwned` \"; touch pwned; \" '; touch pwned; ' * ~ ${HOME}\n touch pwned\n";

/// A file of the project.
fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// Its documents.
fn documents(name: &str) -> Vec<Value> {
    yaml::documents(&text(name))
}

/// A registry that wants a token, of `user` with the tests' secret.
fn registry() -> TestRegistry {
    let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
    TestRegistry::with(Config { auth, ..Config::default() })
}

/// The files of a release in the folder `release` of a sandbox; gives that of the archive. In place of gimg it has a script
/// that runs it: the program of the tests is large.
fn release(sandbox: &Sandbox) -> String {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let name = format!("gimg-{}-linux-{arch}", env!("CARGO_PKG_VERSION"));
    let dir = sandbox.path("release");
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_gimg"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(script.len() as u64);
    tar.append_data(&mut header, format!("{name}/gimg"), script.as_bytes()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    let archive = gzip.finish().unwrap();
    let other = "0".repeat(64);
    let sums = format!("{other}  {name}.tar.gz.sbom\n{}  {name}.tar.gz\n", sha256(&archive));
    std::fs::write(dir.join(format!("{name}.tar.gz")), archive).unwrap();
    std::fs::write(dir.join("SHA256SUMS"), sums).unwrap();
    format!("{name}.tar.gz")
}

/// Serves the files of a folder until the tests end, and says where.
fn served(dir: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { continue };
            let (status, body) = match std::fs::read(dir.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

/// A script, and how a CI system runs it.
struct Script<'a> {
    /// The shell with its options.
    shell: &'a str,
    text: &'a str,
    args: &'a [String],
    cwd: &'a Path,
}

impl Script<'_> {
    /// Runs it. What it says on standard error is among what it says on standard output, in order, as logs have it, and nothing
    /// is hidden from it.
    fn run(&self, sandbox: &Sandbox, env: &[(String, String)]) -> (i32, String) {
        let file = sandbox.path("tmp/script");
        std::fs::write(&file, self.text).unwrap();
        let mut command = sandbox.command("sh -c");
        command.arg(format!("exec {} \"$0\" \"$@\" 2>&1", self.shell)).arg(&file).args(self.args);
        command.current_dir(self.cwd).envs(env.iter().map(|(key, value)| (key, value)));
        let output = command.output().unwrap();
        std::fs::remove_file(file).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

/// A program in place of gimg in a sandbox, which writes down the arguments of its builds, the token and the password that it has,
/// and what it must not have.
fn recorder(sandbox: &Sandbox) -> String {
    let script = "#!/bin/sh\nif [ \"$1\" = login ]; then cat >/dev/null; echo '{}' >\"$DOCKER_CONFIG/config.json\"; exit; fi\n\
                  printf '%s\\0' \"$@\" \"$GITHUB_TOKEN\" \"$COSIGN_PASSWORD\" \"$GIMG_CI_PASSWORD$GIMG_CI_SIGN_KEY\" >recorded\nfor a; do case $a in --report=* | --summary=*) echo '{}' >\"${a#*=}\" ;; esac; done\n";
    // Another process writes: one that this process has open can't be run while a test forks.
    sandbox.run_with("sh -c", &["printf %s \"$1\" >recorder && chmod +x recorder", "sh", script]).ok();
    sandbox.may_hold_secrets("src/recorded");
    sandbox.cwd().join("recorder").display().to_string()
}

/// What it wrote down, but for where gimg is to write.
fn recorded(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.cwd().join("recorded")).unwrap();
    let arguments = text.split_terminator('\0').map(str::to_owned);
    arguments.filter(|a| !a.starts_with("--report=") && !a.starts_with("--summary=")).collect()
}

/// What is to come of this value wherever it is given.
fn expected(value: &str, secrets: [&str; 2]) -> Vec<String> {
    let words = || value.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty());
    let mut arguments = vec!["build".to_owned()];
    for flag in ["platform", "repo", "tags"] {
        arguments.extend(words().map(|word| format!("--{flag}={word}")));
    }
    arguments.extend(["base", "config", "sbom"].map(|flag| format!("--{flag}={value}")));
    arguments.push(format!("--sign-key={value}"));
    arguments.push(format!("--against={value}"));
    arguments.extend(value.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    arguments.push("--".to_owned());
    arguments.extend(words().chain(secrets).chain([""]).map(str::to_owned));
    arguments
}

/// No shell did what a value said.
#[track_caller]
fn nobody_was_pwned(sandbox: &Sandbox) {
    let mut below = walkdir::WalkDir::new(sandbox.path("")).into_iter().flatten();
    let found = below.find(|entry| entry.file_name().to_string_lossy().starts_with("pwned"));
    assert!(found.is_none(), "{found:?}");
}

#[test]
fn gimg_is_fetched_by_wget_where_there_is_no_curl() {
    let sandbox = Sandbox::new();
    release(&sandbox);
    let url = served(&sandbox.path("release"));
    std::fs::create_dir(sandbox.path("bin")).unwrap();
    for name in ["awk", "cat", "gzip", "mkdir", "sh", "sha256sum", "tar", "uname", "wget"] {
        let found = sandbox.run_with("sh -c", &["command -v \"$0\"", name]).ok();
        std::os::unix::fs::symlink(found.stdout.trim(), sandbox.path("bin").join(name)).unwrap();
    }
    let env = [("PATH", sandbox.path("bin").display().to_string()), ("GIMG_CI_FROM", url)];
    let env = env.into_iter().chain([("GIMG_CI_VERSION", env!("CARGO_PKG_VERSION").to_owned())]);
    let env: Vec<_> = env.map(|(name, value)| (name.to_owned(), value)).collect();
    let script = format!("{}\ngimg_install \"$PWD\" && \"$gimg\" version\n", text("ci/gimg.sh"));
    let script = Script { shell: "sh", text: &script, args: &[], cwd: sandbox.cwd() };
    let version = format!("gimg {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(script.run(&sandbox, &env), (0, version.repeat(2)));
}

#[test]
fn what_is_fetched_is_this_version_of_this_project() {
    let (version, repository) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_REPOSITORY"));
    let action = &documents("action.yml")[0];
    let component = &documents("templates/build.yml")[0];
    for inputs in [&action["inputs"], &component["spec"]["inputs"]] {
        assert_eq!(inputs["version"]["default"], version);
    }
    assert!(text("ci/gimg.sh").contains(&format!("{repository}/releases/download/v$GIMG_CI_VERSION")));
}

#[test]
fn every_input_is_in_the_documents_and_is_used() {
    let page = text("docs/ci.md");
    let action = &documents("action.yml")[0];
    let component = documents("templates/build.yml");
    let inputs = [
        (&action["inputs"], action["runs"].to_string(), "inputs."),
        (&component[0]["spec"]["inputs"], component[1].to_string(), "inputs."),
    ];
    for (inputs, used, prefix) in inputs {
        for name in inputs.as_object().unwrap().keys() {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/ci.md");
            assert!(used.contains(&format!("{prefix}{name} ")), "{name} is not used");
        }
    }
}
