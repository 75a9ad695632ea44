//! The files of CI systems by what others publish about them: schemas, checkers, and the API server of Kubernetes with the
//! definitions of Tekton and Argo Workflows.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::ci::{documents, text};
use crate::support::kube::ApiServer;
use crate::support::{Ran, Sandbox};

/// Checks a document by a schema that the checker brings along.
fn checked(sandbox: &Sandbox, schema: &str, document: &Value) -> Ran {
    // JSON is YAML.
    sandbox.write("document.yml", &document.to_string());
    sandbox.run(&format!("check-jsonschema --builtin-schema vendor.{schema} document.yml"))
}

#[test]
#[ignore = "integration: needs check-jsonschema, which holds the schemas"]
fn integration_the_files_are_what_published_schemas_say() {
    let sandbox = Sandbox::new();
    let [spec, job] = documents("templates/build.yml").try_into().unwrap();
    let one = |name: &str| documents(name).remove(0);
    for (schema, document, broken) in [
        ("github-actions", one("action.yml"), "/runs/steps/0/shell"),
        ("github-workflows", one("examples/ci/github.yml"), "/jobs/image/steps/0/uses"),
        ("gitlab-ci", spec, "/spec/inputs/packages/description"),
        ("gitlab-ci", job, "/$[[ inputs.job ]]/artifacts/reports/dotenv"),
        ("gitlab-ci", one("examples/ci/gitlab.yml"), "/include/0/remote"),
    ] {
        checked(&sandbox, schema, &document).ok();
        let mut other = document;
        *other.pointer_mut(broken).unwrap() = json!({"no": 7});
        assert_eq!(checked(&sandbox, schema, &other).code, 1, "{schema} says nothing of {broken}");
    }
}

#[test]
#[ignore = "integration: needs ShellCheck"]
fn integration_the_scripts_have_no_findings() {
    let sandbox = Sandbox::new();
    let check = |shell: &str, script: &str| {
        sandbox.write("script", script);
        sandbox.run(&format!("shellcheck --shell={shell} script"))
    };
    for name in ["ci/gimg.sh", "ci/github.sh"] {
        sandbox.write(name, &text(name));
    }
    sandbox.run("shellcheck --external-sources ci/github.sh").ok();
    check("sh", &text("ci/gimg.sh")).ok();
    let job = documents("templates/build.yml").remove(1);
    let lines = job.as_object().unwrap().values().next().unwrap()["script"].clone();
    let lines: Vec<&str> = lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    check("sh", &lines.join("\n")).ok();
    // Words are split on purpose there, and Jenkins and Argo stop at the first failure.
    let on_purpose = "# shellcheck disable=SC2086,SC2164\n";
    let tekton = documents("examples/ci/tekton.yaml").remove(0);
    let steps =
        tekton["spec"]["steps"].as_array().unwrap().iter().map(|step| step["script"].as_str().unwrap());
    let argo = documents("examples/ci/argo.yaml").remove(0);
    let argo = argo["spec"]["templates"][0]["script"]["source"].as_str().unwrap().to_owned();
    let jenkins = text("examples/ci/Jenkinsfile");
    let jenkins = jenkins.split("sh '''").skip(1).map(|rest| rest.split("'''").next().unwrap().to_owned());
    for script in steps.map(str::to_owned).chain([argo]).chain(jenkins) {
        let script = script.strip_prefix("#!/bin/sh\n").unwrap_or(&script);
        check("sh", &format!("{on_purpose}{script}")).ok();
    }
    assert_eq!(check("sh", "rm $1\n").code, 1);
}

#[test]
#[ignore = "integration: needs actionlint"]
fn integration_the_workflow_gives_the_action_what_it_takes() {
    let sandbox = Sandbox::new();
    sandbox.git("init -q").ok();
    sandbox.write("action.yml", &text("action.yml"));
    let version = format!("gimg/gimg@v{}", env!("CARGO_PKG_VERSION"));
    let workflow = text("examples/ci/github.yml").replace(&version, "./");
    let lint = |workflow: &str| {
        sandbox.write(".github/workflows/image.yml", workflow);
        sandbox.run("actionlint -no-color")
    };
    lint(&workflow).ok();
    for (right, wrong) in [
        ("packages: ./cmd/app", "pakages: ./cmd/app"),
        ("steps.gimg.outputs.reference", "steps.gimg.outputs.referense"),
        ("github.ref_type ==", "github.ref_typ =="),
    ] {
        assert!(workflow.contains(right));
        assert_eq!(lint(&workflow.replace(right, wrong)).code, 1, "{wrong}");
    }
}

#[test]
#[ignore = "integration: needs a parser of Groovy"]
fn integration_the_jenkinsfile_is_groovy() {
    let sandbox = Sandbox::new();
    let file = text("examples/ci/Jenkinsfile");
    let parsed = |text: &str| {
        sandbox.write("Jenkinsfile", text);
        sandbox.run("parse-groovy Jenkinsfile")
    };
    parsed(&file).ok();
    for (right, wrong) in [
        ("agent { label 'linux' }", "agent { label 'linux' "),
        ("defaultValue: 'latest'", "defaultValue: 'latest"),
        ("steps {", "steps ("),
    ] {
        assert!(file.contains(right));
        assert_eq!(parsed(&file.replacen(right, wrong, 1)).code, 1, "{wrong}");
    }
}

/// A module's own files.
fn module(sandbox: &Sandbox, name: &str) -> PathBuf {
    let ran = sandbox.run(&format!("go mod download -json {name}"));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    report["Dir"].as_str().unwrap_or_else(|| panic!("{name}: {}{}", ran.stdout, ran.stderr)).into()
}

#[test]
#[ignore = "integration: needs a Kubernetes API server, and Tekton's and Argo's modules (80 MB)"]
fn integration_an_api_server_takes_the_manifests() {
    let sandbox = Sandbox::new();
    let server = ApiServer::start();
    let kubectl =
        |line: &str| sandbox.run(&format!("kubectl --kubeconfig {} {line}", server.kubeconfig().display()));
    let tekton = module(&sandbox, "github.com/tektoncd/pipeline@v1.0.0").join("config/300-crds");
    let argo =
        module(&sandbox, "github.com/argoproj/argo-workflows/v4@v4.0.5").join("manifests/base/crds/full");
    for file in [
        tekton.join("300-task.yaml"),
        tekton.join("300-pipeline.yaml"),
        argo.join("argoproj.io_workflowtemplates.yaml"),
    ] {
        kubectl(&format!("create -f {}", file.display())).ok();
    }
    // Before it has any condition, kubectl doesn't wait for one.
    let waits = || kubectl("wait --for condition=established --timeout=60s crd --all").code == 0;
    assert!((0..50).any(|_| waits()));
    let create = |name: &str, manifest: &str| {
        sandbox.write(name, manifest);
        kubectl(&format!("create --validate=strict -f {name}"))
    };
    for (name, wrong) in [
        ("tekton.yaml", [("stepTemplate:", "stepTemplat:"), ("runAfter: [clone]", "runAfter: {clone: 1}")]),
        (
            "argo.yaml",
            [
                ("entrypoint:", "entrypont:"),
                ("securityContext:\n          allow", "securityContext:\n          alow"),
            ],
        ),
    ] {
        let manifest = text(&format!("examples/ci/{name}"));
        for (right, wrong) in wrong {
            assert!(manifest.contains(right), "{right}");
            let ran = create(name, &manifest.replace(right, wrong));
            assert_ne!(ran.code, 0, "{wrong} is taken");
            assert!(
                ran.stderr.contains("strict decoding error") || ran.stderr.contains("is invalid"),
                "{}",
                ran.stderr
            );
            kubectl(&format!("delete --ignore-not-found -f {name}"));
        }
        create(name, &manifest).ok();
    }
}
