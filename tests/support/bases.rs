//! Base images for the comparison with ko: small ones with everything that real bases have, put straight into a
//! test registry as `base/<name>:v1`.

use std::io::Write as _;

use serde_json::{Value, json};

use super::registry::TestRegistry;

/// The media types of a format.
struct Types {
    index: &'static str,
    manifest: &'static str,
    config: &'static str,
    layer: &'static str,
}

const OCI: Types = Types {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

const DOCKER: Types = Types {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
};

/// Puts every base into the registry.
pub(crate) fn publish(registry: &TestRegistry) {
    let put = |name: &str, types: &'static Types| Press { registry, repo: format!("base/{name}"), types };
    let nothing = |_: &mut Value| {};

    // Images without index.
    put("image", &OCI).tagged("linux/amd64", nothing, nothing);
    put("docker", &DOCKER).tagged("linux/amd64", nothing, nothing);
    put("arm", &OCI).tagged("linux/arm/v7", nothing, nothing);
    put("rich", &OCI).tagged("linux/amd64", rich, nothing);
    put("bare", &OCI).tagged("linux/amd64", bare, nothing);
    put("annotated", &OCI).tagged("linux/amd64", nothing, |manifest| {
        manifest["annotations"] =
            json!({"org.example.base": "yes", "org.opencontainers.image.base.name": "up"});
    });

    // Indexes.
    put("two", &OCI).index(&["linux/amd64", "linux/arm64"], nothing);
    put("docker-list", &DOCKER).index(&["linux/amd64", "linux/arm64"], nothing);
    put("alone", &OCI).index(&["linux/amd64"], nothing);
    put("variants", &OCI).index(
        &["linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64/v3"],
        nothing,
    );
    put("odd", &OCI)
        .index(&["linux/386", "linux/mips64le", "linux/ppc64le", "linux/riscv64", "linux/s390x"], nothing);
    put("arm64-v3", &OCI).index(&["linux/arm64/v3", "linux/amd64"], nothing);
    put("unix", &OCI).index(&["freebsd/amd64", "linux/amd64"], nothing);
    put("versions", &OCI).index(
        &["linux/amd64:10.0.17763.1234", "windows/amd64:10.0.17763.1234", "windows/amd64:10.0.20348.2"],
        nothing,
    );
    put("index-annotated", &OCI).index(&["linux/amd64", "linux/arm64"], |index| {
        index["annotations"] = json!({"org.example.index": "yes"});
        for child in index["manifests"].as_array_mut().unwrap() {
            child["annotations"] = json!({"org.example.child": "yes"});
        }
    });
    put("attested", &OCI).index(&["linux/amd64", "linux/arm64", "unknown/unknown"], |index| {
        let subject = index["manifests"][0]["digest"].clone();
        index["manifests"][2]["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": subject,
        });
    });
    put("windows", &OCI).index(&["windows/amd64:10.0.17763.1234"], nothing);
    put("nested", &OCI).nested();
}

/// A config with every field that a base can have.
fn rich(config: &mut Value) {
    config["author"] = "The Base".into();
    config["created"] = "2019-08-07T06:05:04.123456789Z".into();
    config["config"] = json!({
        "User": "1000:1000",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Env": ["LANG=C.UTF-8", "PATH=/opt/bin:/usr/bin", "KO_DATA_PATH=/elsewhere", "EMPTY="],
        "Entrypoint": ["/bin/init", "--"],
        "Cmd": ["serve", "--all"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv/a b",
        "Labels": {"maintainer": "base@example.com", "shared": "base"},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 30_000_000_000_u64},
        "Shell": ["/bin/sh", "-c"],
        "OnBuild": ["RUN true"],
    });
    config["history"] = json!([
        {"created": "2019-08-07T06:05:03Z", "created_by": "ADD rootfs", "comment": "base"},
        {"created": "2019-08-07T06:05:04Z", "created_by": "CMD", "empty_layer": true},
    ]);
}

/// A config with nothing that isn't needed.
fn bare(config: &mut Value) {
    let object = config.as_object_mut().unwrap();
    object.remove("created");
    object.remove("history");
    object.insert("config".to_owned(), json!({}));
}

/// Makes images of one repository.
struct Press<'a> {
    registry: &'a TestRegistry,
    repo: String,
    types: &'static Types,
}

impl Press<'_> {
    /// One image, tagged.
    fn tagged(&self, platform: &str, config: impl Fn(&mut Value), manifest: impl Fn(&mut Value)) {
        let (bytes, _) = self.image(platform, config, manifest);
        self.registry.put_manifest(&self.repo, "v1", self.types.manifest, bytes);
    }

    /// An index of plain images, tagged.
    fn index(&self, platforms: &[&str], change: impl Fn(&mut Value)) {
        let entries: Vec<Value> = platforms.iter().map(|p| self.image(p, |_| {}, |_| {}).1).collect();
        let mut index = json!({"schemaVersion": 2, "mediaType": self.types.index, "manifests": entries});
        change(&mut index);
        self.registry.put_manifest(&self.repo, "v1", self.types.index, index.to_string());
    }

    /// An index with an index in it.
    fn nested(&self) {
        let inner = json!({"schemaVersion": 2, "mediaType": self.types.index,
            "manifests": [self.image("linux/arm64", |_| {}, |_| {}).1]});
        let inner = self.stored(self.types.index, inner.to_string());
        let entries = [self.image("linux/amd64", |_| {}, |_| {}).1, inner];
        let index = json!({"schemaVersion": 2, "mediaType": self.types.index, "manifests": entries});
        self.registry.put_manifest(&self.repo, "v1", self.types.index, index.to_string());
    }

    /// An image's manifest and the descriptor of it.
    fn image(
        &self,
        platform: &str,
        change_config: impl Fn(&mut Value),
        change_manifest: impl Fn(&mut Value),
    ) -> (String, Value) {
        let platform = platform_json(platform);
        let (layer, diff_id) = layer();
        let size = layer.len();
        let layer = self.registry.put_blob(&self.repo, layer);
        let mut config = json!({
            "created": "2024-05-06T07:08:09Z",
            "config": {
                "Env": ["PATH=/usr/local/bin:/usr/bin", "SSL_CERT_FILE=/etc/ssl/ca.pem"],
                "User": "65532",
                "WorkingDir": "/home/nonroot",
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": "2024-05-06T07:08:09Z", "created_by": "base", "comment": "base"}],
        });
        for (key, value) in platform.as_object().unwrap() {
            config[key] = value.clone();
        }
        change_config(&mut config);
        let config = config.to_string();
        let config_size = config.len();
        let config = self.registry.put_blob(&self.repo, config);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.types.manifest,
            "config": {"mediaType": self.types.config, "digest": config, "size": config_size},
            "layers": [{"mediaType": self.types.layer, "digest": layer, "size": size}],
        });
        change_manifest(&mut manifest);
        let manifest = manifest.to_string();
        let mut descriptor = self.stored(self.types.manifest, manifest.clone());
        descriptor["platform"] = platform;
        (manifest, descriptor)
    }

    /// Stores a document by its digest; gives its descriptor.
    fn stored(&self, media_type: &str, document: String) -> Value {
        let digest = format!("sha256:{}", super::sha256(document.as_bytes()));
        let size = document.len();
        self.registry.put_manifest(&self.repo, &digest, media_type, document);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }
}

/// `os/arch[/variant][:version]` as an index says it.
fn platform_json(text: &str) -> Value {
    let (name, version) = text.split_once(':').unwrap_or((text, ""));
    let parts: Vec<&str> = name.split('/').collect();
    let mut platform = json!({"os": parts[0], "architecture": parts[1]});
    if let Some(variant) = parts.get(2) {
        platform["variant"] = (*variant).into();
    }
    if !version.is_empty() {
        platform["os.version"] = version.into();
    }
    platform
}

/// The digest of the one layer of every base.
pub(crate) fn layer_digest() -> String {
    format!("sha256:{}", super::sha256(&layer().0))
}

/// The one layer of every base, gzipped, and its `diff_id`.
fn layer() -> (Vec<u8>, String) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, mode, text: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    };
    add("etc/", tar::EntryType::Directory, 0o755, "");
    add("etc/os-release", tar::EntryType::Regular, 0o644, "ID=base\n");
    add("var/", tar::EntryType::Directory, 0o755, "");
    let tar = builder.into_inner().unwrap();
    let diff_id = format!("sha256:{}", super::sha256(&tar));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    (gzip.finish().unwrap(), diff_id)
}
