//! What can be said about an image, as a flat list of facts: two images are compared fact by fact.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;

use serde_json::Value;

use super::sha256;

/// What a fact is about: the image's name, the platform, the thing, and which property of it. Empty parts are left
/// out when it is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) image: String,
    pub(crate) platform: String,
    pub(crate) item: String,
    pub(crate) part: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.image, &self.platform, &self.item, &self.part];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        f.write_str(&parts.join(" | "))
    }
}

/// The facts.
pub(crate) type Facts = BTreeMap<Key, String>;

/// Reads blobs and manifests by digest.
pub(crate) type Fetch<'a> = &'a dyn Fn(&str) -> Vec<u8>;

/// Collects the facts of one image.
pub(crate) struct Witness<'a> {
    /// The image's name.
    pub(crate) name: &'a str,
    /// Where its documents and layers are.
    pub(crate) fetch: Fetch<'a>,
    /// Whether a layer is the base's.
    pub(crate) is_base: &'a dyn Fn(&str) -> bool,
    /// What is known.
    pub(crate) facts: &'a mut Facts,
}

/// A JSON value with its keys in order.
pub(crate) fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<&String, String> = map.iter().map(|(k, v)| (k, sorted(v))).collect();
            let fields: Vec<String> = map.iter().map(|(k, v)| format!("{k:?}:{v}")).collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}

/// A JSON value as people write it: strings without quotes.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A platform by one name: `arm64/v8` is `arm64`.
fn platform_name(p: &Value) -> String {
    let mut name = format!("{}/{}", plain(&p["os"]), plain(&p["architecture"]));
    if let Some(variant) = p["variant"].as_str().filter(|v| (name.as_str(), *v) != ("linux/arm64", "v8")) {
        name = format!("{name}/{variant}");
    }
    if let Some(version) = p["os.version"].as_str() {
        name = format!("{name}:{version}");
    }
    name
}

impl Witness<'_> {
    fn say(&mut self, platform: &str, item: &str, part: &str, value: impl Into<String>) {
        let (image, platform) = (self.name.to_owned(), platform.to_owned());
        let key = Key { image, platform, item: item.to_owned(), part: part.to_owned() };
        let before = self.facts.insert(key.clone(), value.into());
        assert!(before.is_none(), "two facts about {key}");
    }

    fn document(&self, descriptor: &Value) -> Value {
        let digest = plain(&descriptor["digest"]);
        let bytes = (self.fetch)(&digest);
        assert_eq!(format!("sha256:{}", sha256(&bytes)), digest);
        assert_eq!(Some(bytes.len() as u64), descriptor["size"].as_u64(), "the size of {digest}");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// What the root, an image or an index, says.
    pub(crate) fn root(&mut self, bytes: &[u8]) {
        let root: Value = serde_json::from_slice(bytes).unwrap();
        self.say("", "root", "type", plain(&root["mediaType"]));
        let Some(children) = root["manifests"].as_array() else {
            self.say("", "root", "kind", "image");
            return self.manifest(&root);
        };
        self.say("", "root", "kind", "index");
        self.annotations("", "annotation", &root);
        let names: Vec<String> = children.iter().map(|c| platform_name(&c["platform"])).collect();
        self.say("", "root", "order of platforms", names.join(","));
        for (child, name) in children.iter().zip(&names) {
            for (field, value) in child.as_object().unwrap() {
                if !["digest", "size"].contains(&field.as_str()) {
                    self.say(name, "entry of the index", field, sorted(value));
                }
            }
            let manifest = self.document(child);
            let config = self.document(&manifest["config"]);
            assert_eq!(plain(&config["os"]), plain(&child["platform"]["os"]));
            self.image(name, &manifest);
        }
    }

    /// A manifest that stands alone: its platform is the config's.
    fn manifest(&mut self, manifest: &Value) {
        let name = platform_name(&self.document(&manifest["config"]));
        self.image(&name, manifest);
    }

    fn annotations(&mut self, platform: &str, item: &str, document: &Value) {
        for (key, value) in document["annotations"].as_object().into_iter().flatten() {
            self.say(platform, item, key, plain(value));
        }
    }

    /// What a manifest, its config and its layers say.
    fn image(&mut self, platform: &str, manifest: &Value) {
        self.say(platform, "manifest", "type", plain(&manifest["mediaType"]));
        self.say(platform, "manifest", "config type", plain(&manifest["config"]["mediaType"]));
        self.annotations(platform, "annotation", manifest);
        let layers = manifest["layers"].as_array().unwrap();
        let (base, own): (Vec<&Value>, Vec<&Value>) =
            layers.iter().partition(|l| (self.is_base)(l["digest"].as_str().unwrap()));
        let list = |of: &[&Value], field: &str| of.iter().map(|l| plain(&l[field])).collect::<Vec<_>>();
        self.say(platform, "layers of the base", "digests", list(&base, "digest").join(","));
        self.say(platform, "layers of the base", "types", list(&base, "mediaType").join(","));
        let config = self.document(&manifest["config"]);
        self.config(platform, &config, base.len());
        for layer in &own {
            self.layer(platform, layer);
        }
        let mut types = list(&own, "mediaType");
        types.dedup();
        self.say(platform, "layers", "types", types.join(","));
        self.say(platform, "layers", "number", own.len().to_string());
    }

    fn config(&mut self, platform: &str, config: &Value, base: usize) {
        for (field, value) in config.as_object().unwrap() {
            match field.as_str() {
                "config" => {
                    for (field, value) in value.as_object().unwrap() {
                        self.say(platform, "run config", field, sorted(value));
                    }
                }
                "rootfs" => {
                    let ids = value["diff_ids"].as_array().unwrap();
                    let ids: Vec<String> = ids[..base].iter().map(plain).collect();
                    self.say(platform, "layers of the base", "diff_ids", ids.join(","));
                }
                "history" => self.history(platform, value),
                _ => self.say(platform, "config", field, plain(value)),
            }
        }
    }

    /// One item a step; those of the two tools are found by their comments, which are equal.
    fn history(&mut self, platform: &str, history: &Value) {
        for (number, step) in history.as_array().unwrap().iter().enumerate() {
            let comment = step["comment"].as_str().filter(|c| *c != "base");
            let item = comment.map_or(format!("history {number}"), |c| format!("history of {c}"));
            for (field, value) in step.as_object().unwrap() {
                self.say(platform, &item, field, plain(value));
            }
        }
    }

    /// The entries of a layer above the base.
    fn layer(&mut self, platform: &str, layer: &Value) {
        let digest = plain(&layer["digest"]);
        let bytes = (self.fetch)(&digest);
        assert_eq!(format!("sha256:{}", sha256(&bytes)), digest);
        for (name, entry) in entries(&bytes) {
            let word = match entry["kind"].as_str() {
                "Directory" => "folder",
                _ => "file",
            };
            let clean = format!("{word} {}", name.trim_matches('/'));
            // Every layer for Windows has the folders on the way to its files.
            let here = |part: &str| Key {
                image: self.name.to_owned(),
                platform: platform.to_owned(),
                item: clean.clone(),
                part: part.to_owned(),
            };
            if word == "folder"
                && entry.iter().all(|(part, value)| self.facts.get(&here(part)) == Some(value))
            {
                continue;
            }
            for (part, value) in entry {
                self.say(platform, &clean, part, value);
            }
        }
    }
}

/// The entries of a gzipped layer, by the names they are stored under, with all that the tar says of each.
pub(crate) fn entries(gzip: &[u8]) -> BTreeMap<String, BTreeMap<&'static str, String>> {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut tar).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let mut all = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let stored = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut facts = BTreeMap::from([("stored as", stored.clone())]);
        let mut pax = Vec::new();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            let key = extension.key().unwrap();
            // A long name or link is in the name or link already.
            if !["path", "linkpath"].contains(&key) {
                pax.push(format!("{key}={}", extension.value_bytes().escape_ascii()));
            }
        }
        if !pax.is_empty() {
            facts.insert("extended header", pax.join(" "));
        }
        let header = entry.header().clone();
        facts.insert("kind", format!("{:?}", header.entry_type()));
        facts.insert("mode", format!("{:04o}", header.mode().unwrap()));
        facts.insert("owner", format!("{}:{}", header.uid().unwrap(), header.gid().unwrap()));
        let named = [header.username_bytes(), header.groupname_bytes()].map(Option::unwrap_or_default);
        facts.insert("owner's name", named.map(|n| n.escape_ascii().to_string()).join(":"));
        facts.insert("time", header.mtime().unwrap().to_string());
        if let Some(link) = entry.link_name_bytes() {
            facts.insert("link", link.escape_ascii().to_string());
        }
        if !header.entry_type().is_dir() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            facts.insert("size", content.len().to_string());
            facts.insert("content", sha256(&content));
        }
        assert!(all.insert(stored.clone(), facts).is_none(), "{stored} twice");
    }
    all
}
