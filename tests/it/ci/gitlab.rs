//! The GitLab component: what its inputs and CI_… variables make of its job, and that run by the shells that GitLab has.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ci::{
    HOSTILE, Script, documents, expected, nobody_was_pwned, recorded, recorder, registry, release, served,
    text,
};
use crate::support::Sandbox;
use crate::support::canary::{self, SECRET};

const GIMG: &str = env!("CARGO_BIN_EXE_gimg");

struct Job {
    code: i32,
    log: String,
    /// What later jobs get.
    dotenv: BTreeMap<String, String>,
}

impl Job {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.log);
        self
    }
}

/// `$[[ inputs.NAME ]]` in a text.
fn interpolated(text: &str, inputs: &BTreeMap<String, String>) -> String {
    let mut parts = text.split("$[[");
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("]]").unwrap();
        whole.push_str(&inputs[name.trim().strip_prefix("inputs.").unwrap()]);
        whole.push_str(rest);
    }
    whole
}

/// `$NAME` in the value of a variable, which GitLab replaces if there is one.
fn expanded(text: &str, variables: &[(String, String)]) -> String {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        match variables.iter().find(|(name, _)| *name == part[..end] && end > 0) {
            Some((_, value)) => whole.push_str(&format!("{value}{}", &part[end..])),
            None => whole.push_str(&format!("${part}")),
        }
    }
    whole
}

/// Runs the job in the sandbox's `src`, in the project `team/app` of a registry.
fn run(sandbox: &Sandbox, by: &str, host: &str, with: &[(&str, &str)]) -> Job {
    let [spec, jobs] = documents("templates/build.yml").try_into().unwrap();
    let declared = spec["spec"]["inputs"].as_object().unwrap();
    let mut inputs: BTreeMap<String, String> = declared
        .iter()
        .map(|(name, input)| (name.clone(), input["default"].as_str().unwrap().to_owned()))
        .collect();
    for (name, value) in with {
        assert!(inputs.insert((*name).to_owned(), (*value).to_owned()).is_some(), "there is no input {name}");
    }
    let job = jobs.as_object().unwrap().values().next().unwrap();
    let mut env: Vec<(String, String)> = [
        ("CI", "true"),
        ("GITLAB_CI", "true"),
        ("CI_PROJECT_DIR", sandbox.cwd().to_str().unwrap()),
        ("CI_COMMIT_REF_SLUG", "main"),
        ("CI_REGISTRY", host),
        ("CI_REGISTRY_IMAGE", &format!("{host}/team/app")),
        ("CI_REGISTRY_USER", "user"),
        ("CI_REGISTRY_PASSWORD", SECRET),
        ("CI_JOB_TOKEN", SECRET),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (name, value) in job["variables"].as_object().unwrap() {
        let value = expanded(&interpolated(value.as_str().unwrap(), &inputs), &env);
        env.push((name.clone(), value));
    }
    let lines: Vec<&str> =
        job["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let script = Script { shell: by, text: &lines.join("\n"), args: &[], cwd: sandbox.cwd() };
    let (code, log) = script.run(sandbox, &env);
    canary::check("the job", &log);
    for artifact in job["artifacts"]["paths"].as_array().unwrap() {
        let is_there = sandbox.cwd().join(artifact.as_str().unwrap()).is_file();
        assert!(is_there || code != 0, "{artifact}");
    }
    let dotenv = sandbox.cwd().join(job["artifacts"]["reports"]["dotenv"].as_str().unwrap());
    let dotenv = if code == 0 { std::fs::read_to_string(dotenv).unwrap() } else { String::new() };
    let dotenv = dotenv.lines().map(|line| line.split_once('=').unwrap());
    let dotenv = dotenv.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Job { code, log, dotenv }
}

/// The sections of a log, with their titles; each ends.
fn sections(log: &str) -> Vec<String> {
    let mut open: Option<&str> = None;
    let mut titles = Vec::new();
    for line in log.lines() {
        let Some((_, mark)) = line.split_once("\u{1b}[0Ksection_") else { continue };
        let (mark, title) = mark.split_once("\r\u{1b}[0K").unwrap();
        match (mark.split(':').collect::<Vec<_>>().as_slice(), open) {
            (["start", time, name], None) if time.parse::<u64>().is_ok() => {
                open = Some(name.strip_suffix("[collapsed=true]").unwrap());
                titles.push(title.to_owned());
            }
            (["end", time, name], Some(begun)) if time.parse::<u64>().is_ok() && *name == begun => {
                open = None
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(open, None, "{log}");
    titles
}

#[test]
fn the_component_has_the_text_of_the_action() {
    let job = &documents("templates/build.yml")[1];
    let script = job.as_object().unwrap().values().next().unwrap()["script"][0].as_str().unwrap();
    let own = text("ci/gimg.sh");
    let differs = script.lines().zip(own.lines()).find(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert_eq!(script, own);
}

#[test]
fn the_component_pushes_with_the_logins_of_the_job_in_every_shell() {
    let registry = registry();
    let sandbox = Sandbox::go("hello");
    release(&sandbox);
    let from = served(&sandbox.path("release"));
    sandbox.git("init -q").ok();
    sandbox.git("add .").ok();
    sandbox.git("commit -q -m one").ok();
    let host = registry.host();
    let mut before: Option<String> = None;
    for (number, by) in ["dash -e", "bash -eo pipefail"].into_iter().enumerate() {
        let label = format!("--bare\n--image-label=a={number} blank");
        let given = [("packages", "./cmd/hello"), ("args", label.as_str()), ("from", from.as_str())];
        let job = run(&sandbox, by, &host, &given).ok();
        assert_eq!(sections(&job.log), ["Install gimg", "gimg build"]);
        let digest = &registry.tags("team/app")["main"];
        let reference = format!("{host}/team/app:main@{digest}");
        for (name, value) in [("DIGEST", digest), ("REFERENCE", &reference), ("REFERENCES", &reference)] {
            assert_eq!(job.dotenv[&format!("GIMG_{name}")], *value);
        }
        assert!(job.log.ends_with(&format!("{reference}\n")), "{}", job.log);
        let out = sandbox.path("src/gimg-out/ci");
        let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["images"][0]["digest"], *digest);
        let summary = std::fs::read_to_string(out.join("summary.md")).unwrap();
        match before.replace(digest.clone()) {
            None => assert!(summary.contains("Nothing was there before"), "{summary}"),
            Some(old) => {
                assert!(
                    summary.contains(&format!("against `{host}/team/app@{old}`, which `main`")),
                    "{summary}"
                );
                assert!(summary.contains("\nlabel a: \"0 blank\" -> \"1 blank\"\n"), "{summary}");
            }
        }
        // Go stamps nothing as changed.
        assert_eq!(sandbox.git("status --porcelain").ok().stdout, "");
        assert!(!job.log.contains("dirty"), "{}", job.log);
    }
    assert!(!sandbox.path("home/.docker").exists());
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn what_fails_in_the_job_ends_its_section_and_the_job_with_the_exit_code() {
    let registry = registry();
    let sandbox =
        Sandbox::go("hello").file("cmd/broken/main.go", "package main\n\nfunc main() { nothing() }\n");
    for by in ["dash -e", "bash -eo pipefail"] {
        for (given, code, begun) in [
            (("packages", "./cmd/broken"), 4, 2),
            (("tags", "not/a/tag"), 2, 2),
            (("sign-key", "$NO_SUCH_VARIABLE"), 11, 2),
            (("path", "no-gimg"), 2, 1),
        ] {
            let job =
                run(&sandbox, by, &registry.host(), &[("packages", "./cmd/hello"), ("path", GIMG), given]);
            assert_eq!((job.code, sections(&job.log).len()), (code, begun), "{}", job.log);
            assert_eq!(job.log.lines().filter(|line| line.starts_with("gimg: ")).count(), 1, "{}", job.log);
        }
    }
    assert!(registry.repositories().is_empty());
}

#[test]
fn no_input_of_the_component_is_read_by_a_shell() {
    let sandbox = Sandbox::new().without("GITHUB_TOKEN");
    let gimg = recorder(&sandbox);
    let [spec, jobs] = documents("templates/build.yml").try_into().unwrap();
    for line in jobs.as_object().unwrap().values().next().unwrap()["script"].as_array().unwrap() {
        assert!(!line.as_str().unwrap().contains("$[["), "{line}");
    }
    let own = ["path", "version", "from"];
    let inputs = spec["spec"]["inputs"].as_object().unwrap().keys();
    let inputs = inputs.map(String::as_str).filter(|name| !own.contains(name) && *name != "directory");
    let given: Vec<_> = inputs.map(|name| (name, HOSTILE)).chain([("path", gimg.as_str())]).collect();
    for by in ["dash -e", "bash -eo pipefail"] {
        run(&sandbox, by, "registry.example", &given).ok();
        assert_eq!(recorded(&sandbox), expected(HOSTILE, ["", ""]));
        for name in own {
            assert_ne!(run(&sandbox, by, "registry.example", &[(name, HOSTILE)]).code, 0);
        }
        let elsewhere = [("path", gimg.as_str()), ("directory", HOSTILE)];
        assert_ne!(run(&sandbox, by, "registry.example", &elsewhere).code, 0);
    }
    nobody_was_pwned(&sandbox);
}
