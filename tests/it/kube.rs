//! apply, create, run and delete with the real kubectl against a real API server.

use serde_json::Value;

use crate::support::kube::ApiServer;
use crate::support::servers::Server;
use crate::support::{Sandbox, tool};

/// The sample module with a registry, a kubectl on PATH, and its kubeconfig.
fn sandbox(registry: &Server, api: &ApiServer) -> Sandbox {
    let kubectl = tool("kubectl");
    let path = format!("{}:{}", kubectl.parent().unwrap().display(), std::env::var("PATH").unwrap());
    Sandbox::go("hello")
        .env("PATH", &path)
        .env("KUBECONFIG", api.kubeconfig().to_str().unwrap())
        .env("KO_DOCKER_REPO", &format!("{}/x", registry.host()))
}

/// An object of the cluster.
fn object(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_str(&sandbox.run(&format!("kubectl get {name} -o json")).ok().stdout).unwrap()
}

const DEPLOYMENT: &str = "\u{feff}# kept\r\napiVersion: apps/v1\r\nkind: Deployment\r\nmetadata: {name: web, labels: {app: web}}\r\nspec:\r\n  \
                          selector: {matchLabels: {app: web}}\r\n  template:\r\n    metadata: {labels: {app: web}}\r\n    spec:\r\n      \
                          containers:\r\n      - {name: hello, image: \"ko://example.com/hello/cmd/hello\"} # why\r\n      - name: other\r\n        \
                          image: >-\r\n          ko://example.com/hello/cmd/other\r\n---\r\n# nothing\r\n---\r\n\
                          apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: config}\r\ndata: {image: ko://example.com/hello/cmd/other}";

#[test]
#[ignore = "integration: an API server"]
fn integration_apply_create_run_and_delete_against_a_real_api_server() {
    let (registry, api) = (Server::olareg(), ApiServer::start());
    let sandbox = sandbox(&registry, &api).file("k/web.yaml", DEPLOYMENT).file(
        "k/list.json",
        "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \
         \"metadata\": {\"name\": \"two\"}, \"data\": {\"a\": \"ko://example.com/hello/cmd/hello\"}}]}",
    );
    let references = sandbox.run("gimg build ./cmd/hello ./cmd/other").ok();
    let [hello, other] = [0, 1].map(|n| references.lines()[n].to_owned());

    let applied = sandbox.run("gimg apply -f k").ok();
    let made = ["configmap/two created", "deployment.apps/web created", "configmap/config created"];
    assert_eq!(applied.lines(), made, "{}", applied.stderr);
    let containers = &object(&sandbox, "deployment/web")["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        (&containers[0]["image"], &containers[1]["image"]),
        (&hello.as_str().into(), &other.as_str().into())
    );
    assert_eq!(object(&sandbox, "configmap/config")["data"]["image"], other.as_str());
    assert_eq!(object(&sandbox, "configmap/two")["data"]["a"], hello.as_str());
    for reference in [&hello, &other] {
        sandbox.run(&format!("crane --insecure validate --remote {reference}")).ok();
    }

    // Nothing changed; the selector and kubectl's own flags; its exit code.
    let again = sandbox.run("gimg apply -f k").ok();
    assert_eq!(again.stdout.matches(" unchanged").count(), 3, "{}", again.stdout);
    let dry = sandbox.run("gimg apply -f k/web.yaml -l app=web -- --dry-run=server -o name").ok();
    assert_eq!(dry.lines(), ["deployment.apps/web"]);
    let exists = sandbox.run("gimg create -f k/web.yaml");
    assert_eq!((exists.code, exists.stdout.as_str()), (1, ""));
    assert_eq!(exists.stderr.matches("AlreadyExists").count(), 2, "{}", exists.stderr);
    let created = sandbox.run("gimg create -f k/web.yaml -l app=web -- -n kube-system").ok();
    assert_eq!(created.lines(), ["deployment.apps/web created"]);

    let gone = sandbox.run("gimg delete -f k --wait=false").ok();
    assert_eq!(gone.lines().len(), 3, "{}", gone.stdout);
    assert_eq!(sandbox.run("kubectl get deployment/web").code, 1);
    sandbox.run("kubectl get deployment/web -n kube-system").ok();

    // Nothing runs pods here: without attaching it is made, with attaching kubectl waits in vain and says so.
    let ran =
        sandbox.run("gimg run ./cmd/hello -- --attach=false --rm=false --labels=a=b -- -wait=false").ok();
    let pod = ran.stdout.split_whitespace().next().unwrap().to_owned();
    assert!(pod.starts_with("pod/hello-"), "{}", ran.stdout);
    let object = object(&sandbox, &pod);
    let container = &object["spec"]["containers"][0];
    assert_eq!(container["image"], hello.as_str());
    assert_eq!(container["args"], serde_json::json!(["-wait=false"]));
    assert_eq!(
        (&object["spec"]["restartPolicy"], &object["metadata"]["labels"]["a"]),
        (&"Never".into(), &"b".into())
    );
    let waits = sandbox.run("gimg run ./cmd/other -- --pod-running-timeout=1s");
    assert_eq!(waits.code, 1, "{}", waits.stderr);
    assert!(waits.stderr.contains("timed out"), "{}", waits.stderr);
}
