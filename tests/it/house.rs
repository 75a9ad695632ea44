//! The house: which module may use which, what files may hold, and documents that must be fresh.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{Sandbox, root};

/// What each module of the library may name by `crate::`, besides `error`. The table of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("attest", &["binary", "image", "oci"]),
    ("base", &["image", "oci"]),
    ("binary", &["oci"]),
    ("cache", &["content", "event", "oci", "registry"]),
    (
        "cli",
        &[
            "attest",
            "base",
            "content",
            "event",
            "image",
            "oci",
            "ops",
            "plan",
            "process",
            "registry",
            "settings",
            "store",
            "telemetry",
            "ui",
        ],
    ),
    ("content", &["event", "oci"]),
    ("event", &["oci"]),
    ("explain", &["attest", "binary", "image", "oci", "plan"]),
    ("fs", &["image", "oci"]),
    ("fuzzing", &["attest", "binary", "image", "kube", "oci", "registry", "settings", "sign"]),
    ("git", &["oci", "plan", "process"]),
    ("go", &["binary", "cache", "fs", "oci", "plan", "process"]),
    ("image", &["content", "oci"]),
    ("kube", &[]),
    ("oci", &[]),
    (
        "ops",
        &[
            "attest",
            "base",
            "binary",
            "cache",
            "content",
            "event",
            "explain",
            "fs",
            "git",
            "go",
            "image",
            "kube",
            "oci",
            "plan",
            "process",
            "registry",
            "report",
            "settings",
            "sign",
            "store",
            "target",
            "telemetry",
        ],
    ),
    ("plan", &["content", "image", "oci", "settings"]),
    ("process", &[]),
    ("registry", &["content", "event", "oci"]),
    ("report", &["explain", "oci"]),
    ("settings", &["attest", "base", "image", "oci", "plan"]),
    ("sign", &["oci"]),
    ("store", &["content", "event", "oci"]),
    ("target", &["content", "event", "fs", "image", "oci", "process", "store"]),
    ("telemetry", &["event", "settings"]),
    ("ui", &["event", "explain", "oci", "report"]),
];

pub(crate) fn sources(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without its `#[cfg(test)]` tail.
pub(crate) fn production(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in sources("src") {
        let module = module_of(&path);
        if ["lib", "main", "error"].contains(&module.as_str()) {
            continue;
        }
        let allowed = table.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the table"));
        for part in production(&path).split("crate::").skip(1) {
            let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if used != module && used != "error" && !used.is_empty() && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} names crate::{used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_have_a_header_and_no_unfinished_work() {
    let mut wrong = Vec::new();
    for path in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.lines().count() > 600 {
            wrong.push(format!("{}: {} lines", path.display(), text.lines().count()));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{}: no header", path.display()));
        }
        if path.ends_with("house.rs") {
            continue;
        }
        for word in ["todo!", "unimplemented!", "dbg!", "TODO", "FIXME"] {
            if text.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_can_panic_without_a_stated_invariant() {
    let mut wrong = Vec::new();
    for path in sources("src") {
        let text = production(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            if [".unwrap()", ".expect(", "panic!(", "unreachable!("].iter().any(|w| code.contains(w)) {
                let before = &lines[number.saturating_sub(3)..number];
                if !before.iter().any(|l| l.contains("//") || l.contains("reason")) {
                    wrong.push(format!("{}:{}", path.display(), number + 1));
                }
            }
        }
    }
    let tests_only = |p: &String| p.contains("tests.rs") || p.contains("/tests/");
    wrong.retain(|p| !tests_only(p));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dependencies_are_explained_and_their_licences_allowed() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut in_dependencies = false;
    let mut previous = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.contains(" = ") {
            let explained = previous.starts_with('#') || previous.contains(" = ");
            assert!(explained, "no reason above: {line}");
            assert!(line.contains("default-features = false"), "default features: {line}");
        }
        previous = line;
    }
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        let alternatives = licence.replace('/', " OR ").replace(['(', ')'], " ");
        // `A OR B AND C`: every part of one alternative must be allowed.
        let fine = alternatives
            .split(" OR ")
            .any(|all| all.split(" AND ").all(|one| deny.contains(&format!("\"{}\"", one.trim()))));
        assert!(fine, "{}: {licence}", package["name"]);
    }
}

#[test]
fn the_command_line_document_is_fresh() {
    let sandbox = Sandbox::new();
    let mut text = String::from("# Command line\n\nWhat `--help` says. A test keeps this page fresh.\n");
    for command in [
        "",
        "build",
        "resolve",
        "apply",
        "create",
        "delete",
        "run",
        "pack",
        "layer",
        "push",
        "history",
        "inspect",
        "rollback",
        "rebase",
        "outdated",
        "sbom",
        "verify",
        "why",
        "key",
        "key generate",
        "init",
        "lock",
        "schema",
        "login",
        "logout",
        "cache",
        "cache info",
        "cache verify",
        "cache prune",
        "completion",
        "man",
        "version",
    ] {
        let help = sandbox.run(&format!("gimg {command} --help")).ok().stdout;
        let title = format!("gimg {command}");
        text.push_str(&format!("\n## {}\n\n```\n{}\n```\n", title.trim(), help.trim_end()));
    }
    fresh("docs/cli.md", &text);
}

#[test]
fn the_environment_document_is_fresh() {
    let source = std::fs::read_to_string(root().join("src/settings/env.rs")).unwrap();
    let mut text = String::from(
        "# Environment\n\nEvery variable that gimg itself reads. A test keeps this page fresh. Go's own settings \
         (GOFLAGS, GOPROXY, …) are\npassed on to `go`, from the environment and from Go's env file; GOOS and GOARCH \
         never are.\n\n| variable | meaning |\n|---|---|\n",
    );
    let lines: Vec<&str> = source.lines().collect();
    for pair in lines.windows(2) {
        if let (Some(words), Some(rest)) = (pair[0].strip_prefix("/// "), pair[1].strip_prefix("pub const "))
            && let Some((_, value)) = rest.split_once("= \"")
        {
            text.push_str(&format!("| `{}` | {words} |\n", value.trim_end_matches("\";")));
        }
    }
    text.push_str("| `PATH`, `TMPDIR`, `HOME` | as everywhere |\n");
    text.push_str("| `DOCKER_CONFIG`, `DOCKER_AUTH_CONFIG`, `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME` | where credentials are, as for docker and podman |\n");
    text.push_str("| `GITHUB_TOKEN`, `GITHUB_ACTOR`, `CI_REGISTRY`, `CI_REGISTRY_USER`, `CI_REGISTRY_PASSWORD`, `CI_JOB_TOKEN` | credentials that CI systems offer ([credentials.md](credentials.md)) |\n");
    text.push_str("| `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_CONFIG`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`, `CONTAINER_HOST`, `XDG_RUNTIME_DIR`, `KIND_EXPERIMENTAL_PROVIDER` | where engines are, as for docker, podman and kind |\n");
    text.push_str(
        "| `CONTAINERD_ADDRESS`, `CONTAINERD_NAMESPACE` | read by containerd's `ctr`, which gimg runs |\n",
    );
    text.push_str("| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, also in lower case | proxies; never used for this machine; [registries.md](registries.md) |\n");
    text.push_str("| `CONTAINERS_REGISTRIES_CONF` | the `registries.conf` to read: mirrors, insecure and blocked registries; [registries.md](registries.md) |\n");
    fresh("docs/env.md", &text);
}

#[test]
fn the_configuration_documents_are_fresh() {
    let schema: serde_json::Value =
        serde_json::from_str(&Sandbox::new().run("gimg schema").ok().stdout).unwrap();
    fresh("docs/gimg.schema.json", &(serde_json::to_string_pretty(&schema).unwrap() + "\n"));
    let mut text = String::from(
        "# Configuration\n\nThe keys of `.ko.yaml` and `.gimg.yaml` (or `.yml`, `.json`, `.toml`), from the JSON Schema that \
         `gimg schema` prints. A test\nkeeps this page fresh. Flags beat environment variables, variables beat the file, and \
         `--base` beats `baseImageOverrides` too.\n`.ko.yaml` means to gimg what it means to ko, but an unknown key is an \
         error (`--lenient` makes it a warning). Keys with ● are\ngimg's own and need a `.gimg.yaml`, which wins over a \
         `.ko.yaml` beside it. In an editor, a first line `# yaml-language-server:\n$schema=gimg.schema.json` completes \
         keys.\n\nTemplates are Go's, with ko's data: `.Env`, `.GoEnv`, `.Git` (Branch, Tag, ShortCommit, FullCommit, \
         CommitDate,\nCommitTimestamp, IsDirty, IsClean, TreeState), `.Date`, `.Timestamp`.\n",
    );
    section(&mut text, "The file", &schema);
    for (name, title) in [
        ("Build", "Each of `builds`"),
        ("Image", "`image`"),
        ("Healthcheck", "`image.healthcheck`"),
        ("Files", "Each of `files`"),
        ("BaseVerification", "Each of `baseVerification`"),
    ] {
        section(&mut text, title, &schema["$defs"][name]);
    }
    fresh("docs/config.md", &text);
}

fn section(text: &mut String, title: &str, schema: &serde_json::Value) {
    text.push_str(&format!("\n## {title}\n\n| key | | meaning |\n|---|---|---|\n"));
    for (name, key) in schema["properties"].as_object().unwrap() {
        let says: Vec<&str> = key["description"].as_str().unwrap().split_whitespace().collect();
        let own = if key.get("x-gimg").is_some() { "●" } else { "" };
        text.push_str(&format!("| `{name}` | {own} | {} |\n", says.join(" ")));
    }
}

/// The file must say `text`; `GIMG_BLESS=1` makes it so.
pub(crate) fn fresh(name: &str, text: &str) {
    let path = root().join(name);
    if std::env::var_os("GIMG_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{name} is stale: GIMG_BLESS=1 cargo test house");
}

/// Whether the tests have a function `module::name`, beside the code or in `tests/it`.
pub(crate) fn is_test(test: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else { return false };
    let module = module.replace("::", "/");
    let places = ["tests/it/{}.rs", "tests/it/{}/mod.rs", "src/{}.rs", "src/{}/mod.rs"];
    places.iter().any(|place| {
        let file = std::fs::read_to_string(root().join(place.replace("{}", &module)));
        file.is_ok_and(|text| text.contains(&format!("fn {name}(")))
    })
}

#[test]
fn the_tests_that_promises_name_exist() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
    assert!(names.len() > 20, "{names:?}");
    let lost: Vec<&&str> = names.iter().filter(|test| !is_test(test)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}
