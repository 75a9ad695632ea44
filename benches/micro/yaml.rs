//! Manifests of Kubernetes: references found, and replaced.

use divan::counter::BytesCount;
use gimg::kube::scan;

/// A deployment with a reference, or without one.
fn deployments(count: usize, references: bool) -> Vec<u8> {
    let image =
        if references { "ko://example.com/app/cmd/server" } else { "registry.example.com/team/server:v1" };
    let document = |n: usize| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: server-{n} # the server\n  labels: {{app: server, \
             tier: \"back\"}}\nspec:\n  replicas: 3\n  selector:\n    matchLabels:\n      app: server\n  template:\n    \
             metadata:\n      labels:\n        app: server\n    spec:\n      containers:\n      - name: server\n        \
             image: {image}\n        args: ['--port', \"8080\", --verbose]\n        env:\n        - name: TEXT\n          \
             value: |\n            several\n            lines\n        ports:\n        - containerPort: 8080\n---\n"
        )
    };
    (0..count).map(document).collect::<String>().into_bytes()
}

#[divan::bench(args = [true, false])]
fn scan_a_thousand_documents(bencher: divan::Bencher<'_, '_>, references: bool) {
    let text = deployments(1000, references);
    bencher
        .counter(BytesCount::new(text.len()))
        .bench(|| scan("all.yaml", divan::black_box(&text), None).unwrap().found.len());
}

#[divan::bench]
fn replace_a_thousand_references(bencher: divan::Bencher<'_, '_>) {
    let text = deployments(1000, true);
    let found = scan("all.yaml", &text, None).unwrap();
    let references = vec!["registry.example.com/team/server@sha256:0123"; found.found.len()];
    bencher.counter(BytesCount::new(text.len())).bench(|| found.splice(divan::black_box(&text), &references));
}
