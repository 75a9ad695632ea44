//! Archives for machines without a registry: what they call their images, and that containerd takes them, by `ctr` and
//! as K3s takes the files of its folder of images.

use std::collections::BTreeSet;

use serde_json::Value;

use super::daemon::{self, Daemon};
use crate::support::{Layout, Sandbox, tool};

/// The full names that the index of a layout gives to containerd, with the short ones.
fn names(index: &Value) -> Vec<(String, String)> {
    let entries = index["manifests"].as_array().unwrap().iter();
    let name = |entry: &Value, key: &str| entry["annotations"][key].as_str().unwrap_or("-").to_owned();
    let both =
        |e: &Value| (name(e, "org.opencontainers.image.ref.name"), name(e, "io.containerd.image.name"));
    entries.map(both).collect()
}

#[test]
fn an_archive_says_the_full_names_of_its_images() {
    let sandbox = Sandbox::go("hello");
    let index = |flags: &str| -> Value {
        sandbox.run(&format!("gimg build {flags} -o oci-archive:a.tar -o oci:layout")).ok();
        std::fs::create_dir_all(sandbox.path("src/a")).unwrap();
        sandbox.run("tar -xf a.tar -C a").ok();
        let layout = Layout::at(sandbox.path("src/layout")).index();
        assert!(
            names(&layout).iter().all(|(_, full)| full == "-"),
            "a folder is imported by nobody: {layout}"
        );
        let archive = Layout::at(sandbox.path("src/a")).index();
        let digests = |index: &Value| {
            index["manifests"].as_array().unwrap().iter().map(|e| e["digest"].clone()).collect()
        };
        let (one, other): (Vec<Value>, Vec<Value>) = (digests(&archive), digests(&layout));
        assert_eq!(one, other, "the images are the same");
        archive
    };
    let pair = |short: &str, full: &str| (short.to_owned(), full.to_owned());
    let found = names(&index("./cmd/hello --repo registry.example.com/team -B -t v1,v2"));
    let team = "registry.example.com/team/hello";
    assert_eq!(found, [pair("v1", &format!("{team}:v1")), pair("v2", &format!("{team}:v2"))]);
    // Kubernetes calls an image of Docker Hub by its whole name.
    let found = names(&index("./cmd/hello --repo me -B"));
    assert_eq!(found, [pair("latest", "docker.io/me/hello:latest")]);
    // What nobody named is called as in a docker-archive.
    let found = names(&index("./cmd/... -t v1"));
    let of = |program: &str| pair(&format!("{program}:v1"), &format!("gimg.local/{program}:v1"));
    assert_eq!(found, [of("hello"), of("other")]);
    // What refers to an image is none.
    let found = names(&index("./cmd/hello --sbom spdx"));
    let images = found.iter().filter(|(_, full)| full != "-").count();
    assert_eq!((found[0].clone(), images), (pair("latest", "gimg.local/hello:latest"), 1));
}

/// A containerd without images, in the namespace of Kubernetes.
struct Cluster {
    sandbox: Sandbox,
    _daemon: Daemon,
}

impl Cluster {
    fn start() -> Self {
        let daemon = Daemon::containerd();
        let sandbox = daemon::sandbox()
            .env("CONTAINERD_ADDRESS", daemon.socket().to_str().unwrap())
            .env("CONTAINERD_NAMESPACE", "k8s.io");
        Cluster { sandbox, _daemon: daemon }
    }

    /// Each image's name, digest and platforms, as `ctr` lists them.
    fn images(&self) -> BTreeSet<(String, String, String)> {
        let list = self.sandbox.run("ctr images ls").ok();
        let rows = list.lines().into_iter().skip(1).map(str::to_owned).collect::<Vec<_>>();
        let word = |row: &str, n: usize| row.split_whitespace().nth(n).unwrap().to_owned();
        // REF, TYPE, DIGEST, SIZE and its unit, PLATFORMS.
        rows.iter().map(|row| (word(row, 0), word(row, 2), word(row, 5))).collect()
    }

    /// Runs an image, then removes every image with its content: the next import starts from nothing.
    fn run_and_clear(&self, name: &str) {
        let run = format!("ctr run --rm --net-host {name} test /ko-app/hello data note.txt");
        let note = std::fs::read_to_string(self.sandbox.path("src/cmd/hello/kodata/note.txt")).unwrap();
        let said = self.sandbox.run(&run).ok().stdout;
        assert_eq!(said, format!("hello from hello dev linux/{}\n{note}", own()));
        for (name, ..) in self.images() {
            self.sandbox.run(&format!("ctr images rm --sync {name}")).ok();
        }
        assert_eq!(self.sandbox.run("ctr content ls --quiet").ok().stdout, "");
    }
}

/// This machine's architecture.
fn own() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

#[test]
#[ignore = "integration: needs containerd and root"]
fn integration_containerd_imports_archives_under_their_names() {
    let cluster = Cluster::start();
    let sandbox = &cluster.sandbox;
    let name = "registry.example.com/team/hello";
    for compression in ["gzip", "zstd", "none"] {
        let flags = format!("--compression {compression} --repo registry.example.com/team -B -t v1");
        let both = format!("{flags} --platform linux/amd64,linux/arm64");
        let digest =
            sandbox.run(&format!("gimg build ./cmd/hello {both} -o oci-archive:app.tar")).ok().digest();
        let image =
            |platforms: &str| BTreeSet::from([(format!("{name}:v1"), digest.clone(), platforms.to_owned())]);
        let all = "linux/amd64,linux/arm64";
        sandbox.run("ctr images import --all-platforms app.tar").ok();
        assert_eq!(cluster.images(), image(all), "{compression}");
        cluster.run_and_clear(&format!("{name}:v1"));
        // The machine's own platform, which is what an import is without flags.
        sandbox.run("ctr images import app.tar").ok();
        assert!(
            cluster.images().iter().any(|(found, of, _)| *found == format!("{name}:v1") && *of == digest)
        );
        cluster.run_and_clear(&format!("{name}:v1"));
        let other = if own() == "amd64" { "arm64" } else { "amd64" };
        sandbox.run(&format!("ctr images import --no-unpack --platform linux/{other} app.tar")).ok();
        assert_eq!(cluster.images().len(), 1);
        cluster.sandbox.run(&format!("ctr images rm --sync {name}:v1")).ok();
        if compression != "zstd" {
            let line = format!("{flags} --platform linux/{} -o docker-archive:docker.tar", own());
            sandbox.run(&format!("gimg build ./cmd/hello {line}")).ok();
            sandbox.run("ctr images import docker.tar").ok();
            let found = cluster.images();
            let found: Vec<_> = found.iter().map(|(name, _, platforms)| (&**name, &**platforms)).collect();
            assert_eq!(found, [(&*format!("{name}:v1"), &*format!("linux/{}", own()))]);
            cluster.run_and_clear(&format!("{name}:v1"));
        }
    }
}

#[test]
#[ignore = "integration: needs containerd and root"]
fn integration_k3s_imports_archives_of_its_folder() {
    let cluster = Cluster::start();
    let sandbox = &cluster.sandbox;
    let import = |file: &str| {
        let line = format!("{} --address", tool("k3s-import").display());
        let address = cluster.sandbox.run("printenv CONTAINERD_ADDRESS").ok().stdout;
        sandbox.run(&format!("{line} {} {file}", address.trim())).ok().stdout
    };
    let name = "registry.example.com/team/hello";
    for compression in ["gzip", "zstd"] {
        let flags = format!("--compression {compression} --sbom spdx --platform linux/amd64,linux/arm64");
        let line = format!("gimg build ./cmd/hello {flags} --repo registry.example.com/team -B -t v1");
        let digest = sandbox.run(&format!("{line} -o oci-archive:app.tar")).ok().digest();
        let tar = std::fs::read(sandbox.path("src/app.tar")).unwrap();
        std::fs::write(sandbox.path("src/app.tar.zst"), zstd::encode_all(&tar[..], 3).unwrap()).unwrap();
        sandbox.run("gzip -kf app.tar").ok();
        for file in ["app.tar", "app.tar.gz", "app.tar.zst"] {
            let names = [format!("{name}:v1"), format!("{name}@{digest}")];
            assert_eq!(import(file), format!("{}\n", names.join("\n")), "{file}");
            let all = "linux/amd64,linux/arm64".to_owned();
            let expected = names.clone().map(|name| (name, digest.clone(), all.clone()));
            assert_eq!(cluster.images(), BTreeSet::from(expected), "{file}");
            // A Pod may name it either way.
            cluster.run_and_clear(&names[if file == "app.tar" { 1 } else { 0 }]);
        }
    }
    // Without a repository, and for Docker.
    sandbox.run("gimg build ./cmd/hello -o oci-archive:plain.tar -o docker-archive:docker.tar").ok();
    for file in ["plain.tar", "docker.tar"] {
        let said = import(file);
        assert!(said.starts_with("gimg.local/hello:latest\ngimg.local/hello@sha256:"), "{file}: {said}");
        cluster.run_and_clear("gimg.local/hello:latest");
    }
}
