//! The examples for Jenkins, Tekton and Argo Workflows: their scripts, run with what those systems put into them. The
//! systems themselves aren't here.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::ci::{HOSTILE, Script, documents, nobody_was_pwned, registry, release, served, text};
use crate::support::Sandbox;
use crate::support::canary::{self, PAIR, SECRET};

/// A sandbox with a project, a release that is served at the address that is given too, and a login in `docker`.
fn project(host: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::go("hello");
    release(&sandbox);
    let url = served(&sandbox.path("release"));
    for dir in ["docker", "build", "work", "gimg", "results"] {
        std::fs::create_dir(sandbox.path(dir)).unwrap();
    }
    let login = format!(r#"{{"auths": {{"{host}": {{"auth": "{PAIR}"}}}}}}"#);
    std::fs::write(sandbox.path("docker/config.json"), login).unwrap();
    sandbox.may_hold_secrets("docker/config.json");
    (sandbox, url)
}

/// A text in which what lies at the absolute path `there` lies at `here`.
fn placed(text: &str, there: &str, here: &Path) -> String {
    let mut parts = text.split(there);
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let is_start = whole.is_empty() || whole.ends_with([' ', '>', '=', '"', '\n']);
        let is_whole = part.is_empty() || part.starts_with(['/', ' ', '\n', '"']);
        if is_start && is_whole {
            whole.push_str(here.to_str().unwrap())
        } else {
            whole.push_str(there)
        }
        whole.push_str(part);
    }
    whole
}

/// `{name, value}` of each in a list.
fn pairs(list: &Value) -> Vec<(String, String)> {
    let of = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    list.as_array().into_iter().flatten().map(|entry| (of(entry, "name"), of(entry, "value"))).collect()
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    std::fs::read_to_string(sandbox.path(name)).unwrap()
}

#[test]
fn examples_fetch_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (name, words) in [
        ("github.yml", format!("uses: gimg/gimg@v{version}\n")),
        ("gitlab.yml", format!("{}/raw/v{version}/templates/build.yml\n", env!("CARGO_PKG_REPOSITORY"))),
        ("Jenkinsfile", format!("GIMG_VERSION = '{version}'\n")),
        ("Jenkinsfile", format!("{}/releases/download/v{version}'\n", env!("CARGO_PKG_REPOSITORY"))),
        ("tekton.yaml", format!("default: {version}\n")),
        ("argo.yaml", format!("{{name: version, value: {version}}}\n")),
    ] {
        assert!(text(&format!("examples/ci/{name}")).contains(&words), "{name}: {words}");
    }
    for page in ["README.md", "docs/ci.md"] {
        assert!(text(page).contains(&format!("uses: gimg/gimg@v{version}")), "{page}");
    }
}

#[test]
fn examples_give_inputs_that_there_are() {
    let action = &documents("action.yml")[0];
    let steps = documents("examples/ci/github.yml")[0]["jobs"]["image"]["steps"].clone();
    let step = steps.as_array().unwrap().iter().find(|step| step["id"] == "gimg").unwrap();
    let given = step["with"].as_object().unwrap().keys();
    let component = &documents("templates/build.yml")[0];
    let include = documents("examples/ci/gitlab.yml")[0]["include"][0]["inputs"].clone();
    for (names, inputs) in [
        (given.collect::<Vec<_>>(), &action["inputs"]),
        (include.as_object().unwrap().keys().collect(), &component["spec"]["inputs"]),
    ] {
        let unknown: Vec<_> = names.iter().filter(|name| inputs.get(name.as_str()).is_none()).collect();
        assert!(names.len() > 2 && unknown.is_empty(), "{unknown:?}");
    }
}

/// Runs the Task's steps; `params` are all that have no default, and others.
fn tekton(sandbox: &Sandbox, params: &[(&str, &[&str])]) -> (i32, String) {
    let task = &documents("examples/ci/tekton.yaml")[0]["spec"];
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for param in task["params"].as_array().unwrap() {
        let words = |value: &Value| value.as_str().unwrap().to_owned();
        let value = match &param["default"] {
            Value::Array(list) => list.iter().map(words).collect(),
            Value::Null => continue,
            text => vec![words(text)],
        };
        all.insert(param["name"].as_str().unwrap().to_owned(), value);
    }
    all.extend(
        params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.iter().map(|v| (*v).to_owned()).collect())),
    );
    // Each reference must be to something that is declared.
    let known = |text: &str| {
        let mut parts = text.split("$(");
        let mut whole = parts.next().unwrap().to_owned();
        for part in parts {
            // A command of the shell's.
            let Some((place, rest)) = part.split_once(')').filter(|(place, _)| !place.contains(' ')) else {
                whole.push_str(&format!("$({part}"));
                continue;
            };
            let words: Vec<&str> = place.split('.').collect();
            let value = match words.as_slice() {
                ["params", name] => all[*name][0].clone(),
                ["workspaces", "source", "path"] => sandbox.cwd().display().to_string(),
                ["workspaces", "docker", "path"] => sandbox.path("docker").display().to_string(),
                ["results", name, "path"] => sandbox.path("results").join(name).display().to_string(),
                other => panic!("{other:?}"),
            };
            whole.push_str(&value);
            whole.push_str(rest);
        }
        whole
    };
    let mut log = String::new();
    for step in task["steps"].as_array().unwrap() {
        let (script, gimg) = (step["script"].as_str().unwrap(), sandbox.path("gimg"));
        assert!(!script.contains("$(params") && script.starts_with("#!/bin/sh\n"), "{script}");
        let mut args = Vec::new();
        for arg in step["args"].as_array().into_iter().flatten().map(|arg| arg.as_str().unwrap()) {
            match arg.strip_prefix("$(params.").and_then(|arg| arg.strip_suffix("[*])")) {
                Some(name) => args.extend(all[name].iter().cloned()),
                None => args.push(known(arg)),
            }
        }
        let env =
            pairs(&step["env"]).into_iter().map(|(name, value)| (name, known(&value))).collect::<Vec<_>>();
        let cwd = placed(&known(step["workingDir"].as_str().unwrap()), "/gimg", &gimg);
        let script =
            Script { shell: "sh", text: &placed(script, "/gimg", &gimg), args: &args, cwd: cwd.as_ref() };
        let (code, printed) = script.run(sandbox, &env);
        canary::check("the task", &printed);
        log.push_str(&printed);
        if code != 0 {
            return (code, log);
        }
    }
    (0, log)
}

#[test]
fn the_task_for_tekton_pushes_and_gives_its_results() {
    let registry = registry();
    let (sandbox, url) = project(&registry.host());
    // Releases are below their versions there.
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    std::os::unix::fs::symlink(".", sandbox.path("release").join(version)).unwrap();
    let repo = format!("{}/team", registry.host());
    let given: &[(&str, &[&str])] = &[
        ("repo", &[&repo]),
        ("from", &[&url]),
        ("packages", &["./cmd/hello", "./cmd/other"]),
        ("tags", &["v1,latest"]),
        ("args", &["-B", "--ldflags=-s -w"]),
    ];
    let (code, log) = tekton(&sandbox, given);
    assert_eq!(code, 0, "{log}");
    let of = |name: &str| format!("{repo}/{name}@{}", registry.tags(&format!("team/{name}"))["v1"]);
    let first = of("hello");
    assert_eq!(read(&sandbox, "results/IMAGES"), format!("{first},{}", of("other")));
    let (url_of, digest) = first.split_once('@').unwrap();
    assert_eq!(
        (read(&sandbox, "results/IMAGE_URL"), read(&sandbox, "results/IMAGE_DIGEST")),
        (url_of.into(), digest.into())
    );
    assert!(log.contains("Nothing was there before"), "{log}");
    let from = given.iter().filter(|(name, _)| *name == "from").copied();
    let hostile = ["packages", "repo", "platform", "tags", "args"].map(|name| (name, &[HOSTILE][..]));
    assert_eq!(tekton(&sandbox, &from.clone().chain(hostile).collect::<Vec<_>>()).0, 2);
    assert_ne!(
        tekton(&sandbox, &from.chain([("version", &[HOSTILE][..]), given[0]]).collect::<Vec<_>>()).0,
        0
    );
    nobody_was_pwned(&sandbox);
    // The pipeline gives the task what it wants.
    let [task, pipeline] = documents("examples/ci/tekton.yaml").try_into().unwrap();
    let tasks = pipeline["spec"]["tasks"].as_array().unwrap();
    let build = tasks.iter().find(|one| one["taskRef"]["name"] == task["metadata"]["name"]).unwrap();
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    let wanted = names(&task["spec"]["params"]);
    assert!(names(&build["params"]).iter().all(|name| wanted.contains(name)));
    assert!(names(&build["params"]).contains(&"repo".into()));
    assert_eq!(names(&build["workspaces"]), names(&task["spec"]["workspaces"]));
}

/// Runs the template with its arguments, and these in place of some.
fn argo(sandbox: &Sandbox, given: &[(&str, &str)]) -> (i32, String) {
    let spec = &documents("examples/ci/argo.yaml")[0]["spec"];
    let mut values: BTreeMap<String, String> = pairs(&spec["arguments"]["parameters"]).into_iter().collect();
    for (name, value) in given {
        assert!(values.insert((*name).to_owned(), (*value).to_owned()).is_some(), "{name}");
    }
    let template = &spec["templates"][0];
    let declared = template["inputs"]["parameters"].as_array().unwrap();
    let declared: Vec<&str> = declared.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(
        values.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
        declared.iter().copied().collect()
    );
    let script = &template["script"];
    let source = script["source"].as_str().unwrap();
    assert!(!source.contains("{{"), "{source}");
    let (work, docker) = (sandbox.path("build"), sandbox.path("docker"));
    let env = pairs(&script["env"]).into_iter().map(|(name, value)| {
        let value = match value.strip_prefix("{{inputs.parameters.").and_then(|rest| rest.strip_suffix("}}"))
        {
            Some(name) => values[name].clone(),
            None => placed(&placed(&value, "/build", &work), "/docker", &docker),
        };
        (name, value)
    });
    let env: Vec<_> = env.collect();
    assert_eq!(script["command"], serde_json::json!(["sh", "-eu"]));
    let source = placed(source, "/build", &work);
    let script = Script { shell: "sh -eu", text: &source, args: &[], cwd: sandbox.cwd() };
    let (code, log) = script.run(sandbox, &env);
    canary::check("the template", &log);
    (code, log)
}

#[test]
fn the_template_for_argo_pushes_and_gives_its_outputs() {
    let registry = registry();
    let (sandbox, url) = project(&registry.host());
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    std::os::unix::fs::symlink(".", sandbox.path("release").join(version)).unwrap();
    std::os::unix::fs::symlink(sandbox.cwd(), sandbox.path("build/source")).unwrap();
    let repo = format!("{}/team", registry.host());
    let given = [
        ("repo", repo.as_str()),
        ("from", url.as_str()),
        ("packages", "./cmd/hello ./cmd/other"),
        ("platform", "linux/amd64"),
    ];
    let (code, log) = argo(&sandbox, &given);
    assert_eq!(code, 0, "{log}");
    let template = &documents("examples/ci/argo.yaml")[0]["spec"]["templates"][0];
    let output = |name: &str| {
        let outputs = template["outputs"]["parameters"].as_array().unwrap();
        let path = &outputs.iter().find(|one| one["name"] == name).unwrap()["valueFrom"]["path"];
        read(&sandbox, path.as_str().unwrap().trim_start_matches('/'))
    };
    let references = output("references");
    let first = references.lines().next().unwrap();
    assert_eq!((references.lines().count(), output("reference").as_str()), (2, first));
    assert_eq!(first.split_once('@').unwrap().1, output("digest"));
    let repository = first.split_once('@').unwrap().0.split_once('/').unwrap().1;
    assert_eq!(registry.tags(repository)["latest"], output("digest"));
    assert!(log.contains("Nothing was there before"), "{log}");
    let hostile = ["packages", "repo", "platform", "tags"].map(|name| (name, HOSTILE));
    assert_eq!(argo(&sandbox, &[("from", url.as_str())].into_iter().chain(hostile).collect::<Vec<_>>()).0, 2);
    assert_ne!(argo(&sandbox, &[("from", url.as_str()), ("version", HOSTILE)]).0, 0);
    nobody_was_pwned(&sandbox);
}

/// Runs the scripts of the Jenkinsfile in its order. Nobody reads the Groovy around them.
fn jenkins(sandbox: &Sandbox, url: &str, given: &[(&str, &str)]) -> (i32, String) {
    let file = text("examples/ci/Jenkinsfile");
    let at = |dir: &str| sandbox.path(dir).display().to_string();
    let mut env: BTreeMap<String, String> = [
        ("GIMG_VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        ("GIMG_FROM", url.to_owned()),
        ("REGISTRY_USR", "user".to_owned()),
        ("REGISTRY_PSW", SECRET.to_owned()),
        ("WORKSPACE", sandbox.cwd().display().to_string()),
        ("WORKSPACE_TMP", at("work")),
        ("DOCKER_CONFIG", at("work/docker")),
        ("TAGS", "latest".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    env.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let env: Vec<_> = env.into_iter().collect();
    let mut log = String::new();
    let blocks = file.split("sh '''").skip(1).map(|rest| rest.split("'''").next().unwrap());
    let last = file.rsplit("sh '").next().unwrap().split('\'').next().unwrap();
    let mut code = 0;
    for text in blocks {
        let (ended, printed) =
            Script { shell: "sh -xe", text, args: &[], cwd: sandbox.cwd() }.run(sandbox, &env);
        log.push_str(&printed);
        code = ended;
        if code != 0 {
            break;
        }
    }
    let (ended, printed) =
        Script { shell: "sh -xe", text: last, args: &[], cwd: sandbox.cwd() }.run(sandbox, &env);
    assert_eq!(ended, 0, "{printed}");
    canary::check("the pipeline", &log);
    (code, log)
}

#[test]
fn the_pipeline_for_jenkins_logs_in_pushes_and_leaves_no_login() {
    let registry = registry();
    let (sandbox, url) = project(&registry.host());
    let repo = format!("{}/team", registry.host());
    let given = [("REPO", repo.as_str()), ("PACKAGES", "./cmd/hello ./cmd/other")];
    let (code, log) = jenkins(&sandbox, &url, &given);
    assert_eq!(code, 0, "{log}");
    let references = read(&sandbox, "src/gimg-out/ci/references.txt");
    assert_eq!(references.lines().count(), 2);
    assert!(log.ends_with(&references), "{log}");
    for file in ["report.json", "summary.md"] {
        assert!(sandbox.path("src/gimg-out/ci").join(file).is_file());
    }
    assert!(!sandbox.path("work/docker").exists());
    assert_ne!(jenkins(&sandbox, &url, &["PACKAGES", "REPO", "TAGS"].map(|name| (name, HOSTILE))).0, 0);
    assert_eq!(jenkins(&sandbox, &url, &[given[0], ("PACKAGES", HOSTILE), ("TAGS", HOSTILE)]).0, 2);
    nobody_was_pwned(&sandbox);
}
