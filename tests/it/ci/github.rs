//! The GitHub Action, by a runner that reads action.yml, sets what GitHub's does, and understands the same commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::ci::{
    HOSTILE, Script, documents, expected, nobody_was_pwned, recorded, recorder, registry, release, served,
};
use crate::support::canary::{self, PAIR, SECRET};
use crate::support::registry::{Auth, Config, TestRegistry};
use crate::support::{Sandbox, root};

/// A job: what its steps left.
#[derive(Debug, Default)]
struct Job {
    code: i32,
    /// As people see it: without commands, and with `***` for what is masked.
    log: String,
    groups: Vec<String>,
    annotations: Vec<String>,
    outputs: BTreeMap<String, String>,
    summary: String,
    /// What steps put before PATH.
    path: Vec<String>,
    masks: Vec<String>,
}

impl Job {
    /// Reads what a step printed, as the runner does.
    fn read(&mut self, text: &str) {
        let mut stopped: Option<String> = None;
        for line in text.lines() {
            let command = line.strip_prefix("::").and_then(|rest| rest.split_once("::"));
            match (&stopped, command) {
                (Some(token), Some((name, ""))) if name == token => stopped = None,
                (None, Some((command, value))) => {
                    let value = value.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%");
                    match command.split(' ').next().unwrap() {
                        "add-mask" => self.masks.push(value),
                        "group" => self.groups.push(value),
                        "endgroup" => {}
                        "stop-commands" => stopped = Some(value),
                        _ => self.annotations.push(format!("{command}::{value}")),
                    }
                }
                _ => {
                    let shown =
                        self.masks.iter().fold(line.to_owned(), |line, mask| line.replace(mask, "***"));
                    self.log.push_str(&format!("{shown}\n"));
                }
            }
        }
        assert_eq!(stopped, None, "commands stay stopped after a step");
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!((self.code, &self.annotations), (0, &Vec::new()), "{}", self.log);
        self
    }

    fn digest(&self) -> &str {
        &self.outputs["digest"]
    }
}

/// `${{ inputs.NAME }}` in a text, which is all that action.yml asks for.
fn expanded(text: &str, inputs: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("${{");
    let mut expanded = parts.next().unwrap().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").unwrap();
        let name = expression.trim().strip_prefix("inputs.").unwrap_or_else(|| panic!("{expression}"));
        expanded.push_str(inputs.get(name).unwrap_or_else(|| panic!("there is no input {name}")));
        expanded.push_str(rest);
    }
    expanded
}

fn is_wanted(condition: &Value, inputs: &BTreeMap<String, String>) -> bool {
    let Some(condition) = condition.as_str() else { return true };
    let expression = condition.trim_start_matches("${{").trim_end_matches("}}").trim();
    let (name, word) = expression.split_once(" != ").unwrap();
    inputs[name.strip_prefix("inputs.").unwrap()] != word.trim_matches('\'')
}

/// `name=value`, and `name<<end` with the lines until that.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, value) = match line.split_once("<<") {
            Some((name, end)) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (name, value.join("\n"))
            }
            None => line.split_once('=').map(|(name, value)| (name, value.to_owned())).unwrap(),
        };
        assert!(outputs.insert(name.to_owned(), value).is_none(), "{name} twice");
    }
    outputs
}

/// Runs the action in the sandbox's `src` with these inputs, as a further step of one job.
fn run(sandbox: &Sandbox, with: &[(&str, &str)]) -> Job {
    let action = &documents("action.yml")[0];
    let declared = action["inputs"].as_object().unwrap();
    let default = |input: &Value| match input["default"].as_str().unwrap() {
        "${{ github.token }}" => SECRET.to_owned(),
        text => text.to_owned(),
    };
    let mut inputs: BTreeMap<String, String> =
        declared.iter().map(|(name, input)| (name.clone(), default(input))).collect();
    for (name, value) in with {
        assert!(inputs.insert((*name).to_owned(), (*value).to_owned()).is_some(), "there is no input {name}");
    }
    let temp = sandbox.path("runner");
    std::fs::create_dir_all(&temp).unwrap();
    let file = |name: &str| -> PathBuf {
        let path = temp.join(format!("_{name}"));
        std::fs::write(&path, "").unwrap();
        path
    };
    let mut job = Job::default();
    let mut steps: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for step in action["runs"]["steps"].as_array().unwrap() {
        if !is_wanted(&step["if"], &inputs) {
            continue;
        }
        assert_eq!(step["shell"], "bash");
        let files = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH", "GITHUB_ENV"]
            .map(|name| (name, file(name)));
        let path = std::fs::read_to_string(temp.join("path")).unwrap_or_default();
        let path = path.lines().rev().map(str::to_owned).chain(std::env::var("PATH"));
        let path = path.collect::<Vec<_>>().join(":");
        let mut env = vec![
            ("CI".to_owned(), "true".to_owned()),
            ("GITHUB_ACTIONS".to_owned(), "true".to_owned()),
            ("GITHUB_ACTOR".to_owned(), "user".to_owned()),
            ("GITHUB_ACTION_PATH".to_owned(), root().display().to_string()),
            ("GITHUB_WORKSPACE".to_owned(), sandbox.cwd().display().to_string()),
            ("RUNNER_TEMP".to_owned(), temp.display().to_string()),
            ("PATH".to_owned(), path),
        ];
        env.extend(files.iter().map(|(name, path)| ((*name).to_owned(), path.display().to_string())));
        for (name, value) in step["env"].as_object().unwrap() {
            env.push((name.clone(), expanded(value.as_str().unwrap(), &inputs)));
        }
        let cwd = step["working-directory"].as_str().map(|dir| expanded(dir, &inputs)).unwrap_or_default();
        let script = expanded(step["run"].as_str().unwrap(), &BTreeMap::new());
        let cwd = sandbox.cwd().join(cwd);
        let shell = "bash --noprofile --norc -eo pipefail";
        let script = Script { shell, text: &script, args: &[], cwd: &cwd };
        let (code, printed) = script.run(sandbox, &env);
        job.read(&printed);
        let read = |name: &str| std::fs::read_to_string(temp.join(format!("_{name}"))).unwrap();
        job.path.extend(read("GITHUB_PATH").lines().map(str::to_owned));
        let all = std::fs::read_to_string(temp.join("path")).unwrap_or_default() + &read("GITHUB_PATH");
        std::fs::write(temp.join("path"), all).unwrap();
        job.summary.push_str(&read("GITHUB_STEP_SUMMARY"));
        if let Some(id) = step["id"].as_str() {
            steps.insert(id.to_owned(), outputs(&read("GITHUB_OUTPUT")));
        }
        assert_eq!(read("GITHUB_ENV"), "", "nothing is left for other steps");
        if code != 0 {
            job.code = code;
            break;
        }
    }
    for (name, output) in action["outputs"].as_object().unwrap() {
        let place =
            output["value"].as_str().unwrap().trim_start_matches("${{ steps.").trim_end_matches(" }}");
        let (step, output) = place.split_once(".outputs.").unwrap();
        let value = steps.get(step).and_then(|outputs| outputs.get(output)).cloned().unwrap_or_default();
        job.outputs.insert(name.clone(), value);
    }
    canary::check("the action", &format!("{job:?}").replace(&format!("masks: {:?}", job.masks), ""));
    job
}

/// What every run against `registry` is given.
fn with<'a>(host: &'a str, gimg: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let login = [("repo", host), ("username", "user"), ("password", SECRET), ("path", gimg)];
    let login = login.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    login.chain(more.iter().copied()).collect()
}

const GIMG: &str = env!("CARGO_BIN_EXE_gimg");

#[test]
fn the_action_fetches_gimg_builds_and_says_what_changed() {
    let registry = registry();
    let sandbox = Sandbox::go("hello");
    release(&sandbox);
    let from = served(&sandbox.path("release"));
    let repo = format!("{}/team", registry.host());
    let build = |more: &[(&str, &str)]| {
        let packages = [("packages", "./cmd/hello\n./cmd/other")];
        let given = [("path", ""), ("from", from.as_str()), ("args", "-B\n--buildvcs=false\n")];
        let more: Vec<_> = packages.iter().chain(&given).chain(more).copied().collect();
        run(&sandbox, &with(&repo, "", &more))
    };
    let first = build(&[("tags", "v1 latest")]).ok();
    assert_eq!(first.groups, ["Install gimg", "gimg build"]);
    assert!(first.log.contains(&format!("gimg {}\n", env!("CARGO_PKG_VERSION"))), "{}", first.log);
    let references: Vec<&str> = first.outputs["references"].lines().collect();
    assert_eq!(references.len(), 2);
    for (name, reference) in ["hello", "other"].iter().zip(&references) {
        let digest = &registry.tags(&format!("team/{name}"))["v1"];
        assert_eq!(*reference, format!("{repo}/{name}@{digest}"));
        assert_eq!(registry.tags(&format!("team/{name}"))["latest"], *digest);
    }
    assert_eq!(first.outputs["reference"], references[0]);
    assert!(references[0].ends_with(&format!("@{}", first.digest())));
    let report: Value = serde_json::from_slice(&std::fs::read(&first.outputs["report"]).unwrap()).unwrap();
    assert_eq!(report["images"][1]["reference"], references[1]);
    assert_eq!(first.summary.matches("Nothing was there before").count(), 2);
    // Later steps have it.
    let found = sandbox.run_with(&format!("{}/gimg", first.path[0]), &["version"]).ok();
    assert_eq!(found.stdout, format!("gimg {}\n", env!("CARGO_PKG_VERSION")));

    let greet = std::fs::read_to_string(root().join("testdata/go/hello/greet/greet.go")).unwrap();
    sandbox.write("greet/greet.go", &format!("{greet}\nfunc init() {{ println(\"more\") }}\n"));
    let second = build(&[("tags", "v2,latest")]).ok();
    assert_ne!(second.digest(), first.digest());
    let was = format!("**What changed** against `{}`, which `latest` stood for.", references[0]);
    assert!(second.summary.contains(&was), "{}", second.summary);
    assert!(second.summary.contains("example.com/hello/greet"), "{}", second.summary);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    assert!(!sandbox.path("home/.docker").exists());
}

#[test]
fn what_fails_is_one_annotation_with_the_exit_code_and_no_outputs() {
    let registry = registry();
    let sandbox =
        Sandbox::go("hello").file("cmd/broken/main.go", "package main\n\nfunc main() { nothing() }\n");
    let host = registry.host();
    let repo = format!("{host}/team");
    for (more, code, message) in [
        (vec![("packages", "./cmd/broken")], 4, "gimg: go build for linux/amd64: "),
        (vec![("packages", "./cmd/none")], 3, "gimg: "),
        (vec![("password", "wrong")], 6, "gimg: "),
        (vec![("args", "--no-such-flag")], 2, "error: unexpected argument '--no-such-flag' found"),
        (vec![("path", "./no/gimg")], 2, "gimg: find gimg: there is no program ./no/gimg"),
    ] {
        let job = run(&sandbox, &with(&repo, GIMG, &more));
        assert_eq!(job.code, code, "{}", job.log);
        let [annotation] = job.annotations.as_slice() else { panic!("{:?}", job.annotations) };
        let step = if more[0].0 == "path" { "Install gimg" } else { "gimg build" };
        assert!(annotation.starts_with(&format!("error title={step}::{message}")), "{annotation}");
        assert!(
            job.summary.starts_with(&format!("### {step} failed\n\n```text\n{message}")),
            "{}",
            job.summary
        );
        assert!(job.outputs.values().all(String::is_empty), "{:?}", job.outputs);
    }
    assert!(registry.repositories().is_empty());
    // A hint is part of it.
    let job =
        run(&sandbox, &with(&repo, GIMG, &[("username", ""), ("password", ""), ("packages", "./cmd/hello")]));
    assert!(job.annotations[0].contains(&format!("\nhint: gimg login {host}")), "{:?}", job.annotations);
}

#[test]
fn gimg_is_taken_only_if_it_is_what_its_digest_says() {
    let sandbox = Sandbox::new();
    let archive = release(&sandbox);
    let dir = sandbox.path("release");
    let dir = dir.to_str().unwrap();
    let only = |more: &[(&str, &str)]| {
        let more: Vec<_> = [("build", "false"), ("from", dir)].iter().chain(more).copied().collect();
        run(&sandbox, &more)
    };
    assert_eq!(only(&[]).ok().path.len(), 1);
    let bytes = std::fs::read(sandbox.path("release").join(&archive)).unwrap();
    let digest = crate::support::sha256(&bytes);
    // A digest that was given needs no list.
    std::fs::remove_file(sandbox.path("release/SHA256SUMS")).unwrap();
    assert_eq!(only(&[("sha256", &digest)]).ok().groups, ["Install gimg"]);
    // What is on PATH now serves a later step.
    let again = only(&[("path", "gimg")]).ok();
    sandbox.run_with(&format!("{}/gimg", again.path[0]), &["version"]).ok();
    let failed = |more: &[(&str, &str)], code: i32, why: &str| {
        let job = only(more);
        assert_eq!((job.code, job.path.len()), (code, 0), "{}", job.log);
        assert!(job.annotations[0].contains(why), "{:?}", job.annotations);
    };
    let no_digest = format!("check {archive}: its digest is not the one that was given");
    failed(&[("sha256", &"0".repeat(64))], 8, &no_digest);
    failed(&[], 7, "fetch SHA256SUMS: it can't be had");
    for sums in [
        "",
        "not a list\n",
        &format!("{digest}  other.tar.gz\n"),
        &format!("{}  {archive}\n", "0".repeat(64)),
    ] {
        std::fs::write(sandbox.path("release/SHA256SUMS"), sums).unwrap();
        failed(&[], 8, &no_digest);
    }
    failed(&[("version", "9.9.9")], 7, "fetch gimg-9.9.9-linux-");
    failed(&[("version", "../x")], 2, "this is no version");
    failed(&[("from", "http://example.com/")], 2, "its place is neither an https:// URL nor a directory");
    failed(&[("from", "http://127.0.0.1:80@example.com/")], 2, "its place has a user or password in it");
    failed(&[("from", "ftp://127.0.0.1/")], 2, "its place is neither an https:// URL nor a directory");
    failed(&[("from", &served(&sandbox.path("home")))], 7, "it can't be had");
}

#[test]
fn no_input_is_read_by_a_shell_and_no_output_by_the_runner() {
    let action = documents("action.yml");
    for step in action[0]["runs"]["steps"].as_array().unwrap() {
        assert!(!step["run"].as_str().unwrap().contains("${{"), "{step}");
    }
    let sandbox = Sandbox::new();
    let gimg = recorder(&sandbox);
    // Where the module is the runner itself goes to.
    let [at, own] = [["working-directory", "build", "summary"], ["path", "version", "from"]];
    let names: Vec<&str> = action[0]["inputs"].as_object().unwrap().keys().map(String::as_str).collect();
    let rest = names.iter().filter(|name| !at.contains(name) && !own.contains(name));
    let given: Vec<_> = rest.map(|name| (*name, HOSTILE)).chain([("path", gimg.as_str())]).collect();
    assert_eq!(run(&sandbox, &given).ok().masks, [HOSTILE; 3]);
    assert_eq!(recorded(&sandbox), expected(HOSTILE, [HOSTILE, HOSTILE]));
    for name in ["build", "summary"] {
        run(&sandbox, &[("path", gimg.as_str()), (name, HOSTILE)]).ok();
    }
    for name in own {
        assert_ne!(run(&sandbox, &[(name, HOSTILE)]).code, 0);
    }
    nobody_was_pwned(&sandbox);
    // What a program prints that isn't ours.
    let script = "#!/bin/sh\nprintf '::error::pwned\\n::add-mask::gimg\\n::stop-commands::x\\n::x::\\n::group::pwned\\n'\n\
                  echo '::error::pwned' >&2\necho 'gimg: fail 100%: ::error::pwned' >&2\nexit 5\n";
    let stub = sandbox.path("src/stub");
    // Another process writes: one that this process has open can't be run while a test forks.
    sandbox.run_with("sh -c", &["printf %s \"$1\" >stub && chmod +x stub", "sh", script]).ok();
    let job = run(&sandbox, &[("path", stub.to_str().unwrap())]);
    assert_eq!((job.code, job.groups.len(), job.masks.len()), (5, 2, 1), "{job:?}");
    assert_eq!(job.annotations, ["error title=gimg build::gimg: fail 100%: ::error::pwned"]);
}

#[test]
fn arguments_are_lines_and_secrets_last_as_long_as_the_build() {
    // The job has the login of the other one.
    let [registry, other] = [(); 2].map(|()| {
        let auth = Auth::Basic("user".to_owned(), SECRET.to_owned());
        TestRegistry::with(Config { auth, ..Config::default() })
    });
    let login = format!(r#"{{"auths": {{"{}": {{"auth": "{PAIR}"}}}}}}"#, other.host());
    let sandbox =
        Sandbox::go("hello").env("DOCKER_AUTH_CONFIG", &login).env("COSIGN_PASSWORD", "of another key");
    let made = sandbox
        .command("gimg key generate --output ../sign")
        .env("COSIGN_PASSWORD", SECRET)
        .output()
        .unwrap();
    assert!(made.status.success());
    let key = std::fs::read_to_string(sandbox.path("sign.key")).unwrap();
    let args = "--bare\n--image-label=a=b c\n--ldflags=-s -w\n--image-annotation\nd=$HOME *";
    let repo = format!("{}/app", registry.host());
    let both = format!("{repo} {}/app", other.host());
    let given = [
        ("packages", "./cmd/hello"),
        ("args", args),
        ("sign-key", key.as_str()),
        ("sign-password", SECRET),
        ("summary", "false"),
    ];
    let job = run(&sandbox, &with(&both, GIMG, &given)).ok();
    assert_eq!(job.summary, "");
    assert_eq!(other.tags("app"), registry.tags("app"));
    let manifest: Value = serde_json::from_slice(&registry.bytes("app", job.digest())).unwrap();
    assert_eq!(manifest["annotations"]["d"], "$HOME *");
    let config = registry.bytes("app", manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&config).unwrap()["config"]["Labels"]["a"], "b c");
    let signed = registry.artifacts("app", "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert!(!signed.is_empty());
    // Neither the login nor the key is anywhere.
    assert!(!sandbox.path("home/.docker").exists());
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    let job = run(
        &sandbox,
        &with(
            &repo,
            GIMG,
            &[
                ("packages", "./cmd/hello"),
                ("sign-key", "../sign.key"),
                ("sign-password", SECRET),
                ("working-directory", "cmd/.."),
                ("against", job.outputs["reference"].as_str()),
            ],
        ),
    );
    let summary = job.ok().summary;
    assert!(summary.contains("\nlabel a: removed, was \"b c\"\n"), "{summary}");
}
