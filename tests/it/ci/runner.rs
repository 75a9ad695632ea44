//! The GitHub Action in a workflow, by act, and the GitLab component in a pipeline, by gitlab-ci-local: runners that others
//! wrote.

use crate::ci::{nobody_was_pwned, registry, text};
use crate::support::canary::SECRET;
use crate::support::{Sandbox, root};

#[test]
#[ignore = "integration: needs act"]
fn integration_act_runs_the_action() {
    let registry = registry();
    let sandbox = Sandbox::go("hello");
    for name in ["action.yml", "ci/gimg.sh", "ci/github.sh"] {
        sandbox.write(&format!("tool/{name}"), &text(name));
    }
    let (repo, out) = (format!("{}/team", registry.host()), sandbox.path("out"));
    let (gimg, out_dir) = (env!("CARGO_BIN_EXE_gimg"), out.display());
    std::fs::create_dir(&out).unwrap();
    let workflow = format!(
        r#"
on: push
jobs:
  image:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - id: gimg
        uses: ./tool
        with:
          packages: ./cmd/hello ./cmd/other
          repo: {repo}
          tags: v1,latest
          username: user
          password: ${{{{ secrets.PASSWORD }}}}
          path: {gimg}
          args: |
            --base-import-paths
            --image-label=a=$(touch pwned) "b
      - run: |
          printf '%s\n' "$DIGEST" "$REFERENCE" "$REFERENCES" >{out_dir}/outputs
          cp "$REPORT" {out_dir}/report.json
          gimg version >{out_dir}/version
        env:
          DIGEST: ${{{{ steps.gimg.outputs.digest }}}}
          REFERENCE: ${{{{ steps.gimg.outputs.reference }}}}
          REFERENCES: ${{{{ steps.gimg.outputs.references }}}}
          REPORT: ${{{{ steps.gimg.outputs.report }}}}
      - id: again
        continue-on-error: true
        uses: ./tool
        with: {{packages: ./cmd/none, repo: "{repo}", path: gimg}}
      - run: echo "${{{{ steps.again.outcome }}}}" >{out_dir}/outcome
"#
    );
    sandbox.write(".github/workflows/image.yml", &workflow);
    for line in ["init -q", "add .", "commit -q -m one", "remote add origin https://github.com/team/app.git"]
    {
        sandbox.git(line).ok();
    }
    let cache = format!("GOCACHE={}/gocache", env!("CARGO_TARGET_TMPDIR"));
    let secrets = [format!("PASSWORD={SECRET}"), format!("GITHUB_TOKEN={SECRET}")];
    let given = ["--env", &cache, "--secret", &secrets[0], "--secret", &secrets[1]];
    // The log is looked through for secrets: what masks them is act, as it is told to.
    let log = sandbox.run_with("act push --platform ubuntu-latest=-self-hosted", &given).ok().stdout;
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let of = |name: &str| format!("{repo}/{name}@{}", registry.tags(&format!("team/{name}"))["latest"]);
    let (hello, other) = (of("hello"), of("other"));
    let digest = hello.split_once('@').unwrap().1;
    assert_eq!(read("outputs"), format!("{digest}\n{hello}\n{hello}\n{other}\n"));
    assert!(read("report.json").contains(&hello));
    assert_eq!(read("version"), format!("gimg {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(read("outcome"), "failure\n");
    for part in [
        "::group::gimg build",
        "Nothing was there before",
        "::error title=gimg build::gimg: ",
        "### gimg build failed",
    ] {
        assert!(log.contains(part), "no {part} in\n{log}");
    }
    nobody_was_pwned(&sandbox);
}

#[test]
#[ignore = "integration: needs gitlab-ci-local, and rsync"]
fn integration_gitlab_ci_local_runs_the_component() {
    let registry = registry();
    let path = format!("{}:{}", root().join(".tools/bin").display(), std::env::var("PATH").unwrap());
    let sandbox = Sandbox::go("hello").env("PATH", &path);
    // Without an image it needs no containers.
    let image = "  image:\n    name: $[[ inputs.image ]]\n    entrypoint: [\"\"]\n";
    let component = text("templates/build.yml");
    assert!(component.contains(image));
    let component = component.replace(image, "");
    sandbox.write("templates/build.yml", &component);
    let pipeline = format!(
        r#"
include:
  - local: templates/build.yml
    inputs:
      packages: ./cmd/hello ./cmd/other
      tags: v1,$CI_COMMIT_REF_SLUG
      path: {}
      args: |
        --base-import-paths
        --image-label=a=$(touch pwned) "b
stages: [build, deploy]
deploy:
  stage: deploy
  needs: [gimg]
  script:
    - echo "deploying $GIMG_REFERENCE $GIMG_DIGEST"
    - echo "all of $GIMG_REFERENCES"
"#,
        env!("CARGO_BIN_EXE_gimg")
    );
    sandbox.write(".gitlab-ci.yml", &pipeline);
    let host = registry.host();
    let variables = format!(
        "CI_REGISTRY: {host}\nCI_REGISTRY_IMAGE: {host}/team\nCI_REGISTRY_USER: user\nCI_REGISTRY_PASSWORD: {SECRET}\n\
         CI_COMMIT_REF_SLUG: main\n"
    );
    sandbox.write(".gitlab-ci-local-variables.yml", &variables);
    sandbox.write(".gitignore", ".gitlab-ci-local*\n");
    for line in
        ["init -q -b main", "add .", "commit -q -m one", "remote add origin git@gitlab.example:team/app.git"]
    {
        sandbox.git(line).ok();
    }
    let log = sandbox.run("gitlab-ci-local --color=false").ok().stdout;
    let of = |name: &str| format!("{host}/team/{name}@{}", registry.tags(&format!("team/{name}"))["main"]);
    let (hello, other) = (of("hello"), of("other"));
    let digest = hello.split_once('@').unwrap().1;
    for said in [format!("deploying {hello} {digest}\n"), format!("all of {hello} {other}\n")] {
        assert!(log.contains(&said), "no {said} in\n{log}");
    }
    let artifacts = sandbox.path("src/.gitlab-ci-local/artifacts/gimg/gimg-out/ci");
    let summary = std::fs::read_to_string(artifacts.join("summary.md")).unwrap();
    assert_eq!(summary.matches("Nothing was there before").count(), 2);
    assert!(std::fs::read_to_string(artifacts.join("report.json")).unwrap().contains(digest));
    nobody_was_pwned(&sandbox);
    // It keeps the variables of jobs.
    std::fs::remove_dir_all(sandbox.path("src/.gitlab-ci-local")).unwrap();
}
