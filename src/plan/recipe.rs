//! The recipe of an image: what of a plan decides its bytes, without a path of the machine that carries it out. Provenance
//! holds it; read back, it is a plan again. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::content::ImageName;
use crate::error::{Error, Kind, Result};
use crate::image::caps;
use crate::image::contents::Destination;
use crate::oci::{Digest, Platform, Tag};
use crate::plan::command::Target;
use crate::plan::facts::Sources;
use crate::plan::packages::normalise;
use crate::plan::secrets::{MASK, Secrets};
use crate::plan::{ConfigPlan, ImagePlan, ImageProgram, Plan, add_compile, group_of};
use crate::settings::Settings;
use crate::settings::program::Files;

/// How one image is made. Paths are relative to the root of its sources, with `/` between their parts and `.` for the
/// root; `/` alone stands for one that isn't below the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipe {
    /// Where the sources come from.
    pub source: Source,
    /// The toolchain.
    pub go: GoRecipe,
    /// The programs; the first is the one that runs.
    pub programs: Vec<ProgramRecipe>,
    /// The directory of the programs in the image.
    pub programs_directory: String,
    /// File capabilities of the first program: the extended attribute in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// The platforms, in order.
    pub platforms: Vec<PlatformRecipe>,
    /// What the config says.
    #[serde(default, skip_serializing_if = "ConfigRecipe::is_empty")]
    pub config: ConfigRecipe,
    /// Annotations of manifests and index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where kodata is, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kodata: Option<String>,
    /// Files that were added, each entry a layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilesRecipe>,
    /// Files of certificates that were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// How layers are compressed: `gzip:2`.
    pub compression: String,
    /// When images are made: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// When kodata was made: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kodata_epoch: Option<u64>,
    /// Whether the debugger is in the image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub debug: bool,
}

/// Where sources come from: a module's version, or a commit of a repository, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A module of the module proxy: `example.com/mod@v1.2.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The repository, as a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether files were changed since, or are not of the repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub modified: bool,
}

/// The toolchain, and the settings of Go that reach its output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GoRecipe {
    /// Such as `go1.26.8`.
    pub version: String,
    /// Settings for all programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The workspace: a go.work, or `off`. None is for Go to find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramRecipe {
    /// Its import path.
    pub package: String,
    /// Where `go` runs to build it.
    pub directory: String,
    /// Its file's name in the image, without `.exe`.
    pub name: String,
}

/// What is decided for a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformRecipe {
    /// The platform.
    pub platform: String,
    /// What its image stands on.
    pub base: BaseRecipe,
    /// Variables of `go build` in order; the last of one name counts.
    pub environment: Vec<(String, String)>,
    /// Flags of `go build`, without `-o`.
    pub flags: Vec<String>,
}

/// What an image stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseRecipe {
    /// `static@N`, `scratch` or a registry's reference; none for an image of the machine that built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The digest of its manifest or index, if it is an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What a config says besides what follows from layers; what is absent is the base's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigRecipe {
    /// The user to run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the program starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment of the program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Arguments that the program gets if none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// A command before the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Further fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl ConfigRecipe {
    fn is_empty(&self) -> bool {
        *self == ConfigRecipe::default()
    }
}

/// Files that were added: one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesRecipe {
    /// A file or directory.
    pub from: String,
    /// Where it goes, without the leading slash.
    pub to: String,
    /// The name of a file that goes into the directory `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The mode of files, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Their owner: uid and gid.
    pub owner: (u64, u64),
}

/// Settings of Go that reach its output (`go help environment`), and hold no secret.
const SETTINGS: &[&str] = &[
    "AR",
    "CC",
    "CGO_CFLAGS",
    "CGO_CPPFLAGS",
    "CGO_CXXFLAGS",
    "CGO_ENABLED",
    "CGO_FFLAGS",
    "CGO_LDFLAGS",
    "CXX",
    "FC",
    "GCCGO",
    "GO111MODULE",
    "GO386",
    "GOAMD64",
    "GOARCH",
    "GOARM",
    "GOARM64",
    "GODEBUG",
    "GOEXPERIMENT",
    "GOFIPS140",
    "GOFLAGS",
    "GOMIPS",
    "GOMIPS64",
    "GOOS",
    "GOPPC64",
    "GORISCV64",
    "GOWASM",
    "GO_EXTLINK_ENABLED",
    "PKG_CONFIG",
];

impl Recipe {
    /// The recipe of the image `index` of a plan, whose platforms stand on `bases`. What is secret is masked.
    #[must_use]
    pub fn of(
        (plan, index): (&Plan, usize),
        settings: &Settings,
        (go, version): (&BTreeMap<String, String>, &str),
        sources: &Sources,
        bases: &[BaseRecipe],
        secrets: &Secrets,
    ) -> Self {
        let image = &plan.images[index];
        let root = sources.root.as_path();
        let text = |text: &str| secrets.text(text);
        let texts = |map: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            map.iter().map(|(k, v)| (k.clone(), secrets.variable(k, v))).collect()
        };
        let known = |(key, _): &(&String, &String)| SETTINGS.contains(&key.as_str());
        let platforms = image.platforms.iter().enumerate().zip(bases).map(|((number, platform), base)| {
            let group = group_of(&plan.groups, index, number);
            let environment = group.map(|g| g.target.environment.as_slice()).unwrap_or_default();
            let environment = environment.iter().map(|(k, v)| (k, v)).filter(known);
            PlatformRecipe {
                platform: platform.to_string(),
                base: base.clone(),
                environment: environment.map(|(k, v)| (k.clone(), secrets.variable(k, v))).collect(),
                flags: group.iter().flat_map(|g| &g.flags).map(|f| text(f)).collect(),
            }
        });
        let workspace = go.get("GOWORK").map(|place| match place.as_str() {
            "off" => "off".to_owned(),
            place => below(root, Path::new(place)),
        });
        let config = &image.config;
        Recipe {
            source: sources.source.clone(),
            go: GoRecipe {
                version: version.to_owned(),
                settings: go.iter().filter(known).map(|(k, v)| (k.clone(), secrets.variable(k, v))).collect(),
                workspace,
            },
            programs: image
                .programs
                .iter()
                .map(|p| ProgramRecipe {
                    package: p.import_path.clone(),
                    // A fetched module is built in a module that holds nothing else.
                    directory: match sources.source.module {
                        Some(_) => ".".to_owned(),
                        None => below(root, &p.module_dir),
                    },
                    name: p.name.clone(),
                })
                .collect(),
            programs_directory: image.programs_dir.clone(),
            capabilities: image.capabilities.map(|c| hex(&c)),
            platforms: platforms.collect(),
            config: ConfigRecipe {
                user: config.user.as_deref().map(text),
                working_dir: config.working_dir.as_deref().map(text),
                env: texts(&config.env),
                cmd: config.cmd.as_ref().map(|cmd| cmd.iter().map(|a| text(a)).collect()),
                entrypoint: config.entrypoint.iter().map(|a| text(a)).collect(),
                extra: config.extra.iter().map(|(k, v)| (k.clone(), secrets.json(v))).collect(),
                labels: texts(&config.labels),
            },
            annotations: texts(&image.annotations),
            kodata: image.kodata.as_ref().filter(|_| sources.has_kodata).map(|dir| below(root, dir)),
            files: image
                .files
                .iter()
                .map(|files| FilesRecipe {
                    from: below(root, &files.from),
                    to: text(&files.destination.to),
                    file_name: files.destination.file_name.clone(),
                    mode: files.destination.mode,
                    owner: files.destination.owner,
                })
                .collect(),
            certificates: settings.ca_certs.iter().map(|path| below(root, path)).collect(),
            compression: settings.compression.to_string(),
            epoch: image.epoch,
            kodata_epoch: image.kodata_epoch,
            debug: settings.debug,
        }
    }

    /// The plan of a recipe whose sources are at `root`, and built in directories of `go`: the same, unless they are a
    /// module that was fetched. Its image is called `name` and gets `tag`.
    ///
    /// # Errors
    /// What no recipe says, or lies outside of its sources (kind `Integrity`).
    pub fn plan(&self, (root, go): (&Path, &Path), name: ImageName, tag: Tag) -> Result<Plan> {
        self.check_masks()?;
        let platforms: Vec<Platform> = self
            .platforms
            .iter()
            .map(|p| p.platform.parse().map_err(|e| wrong(&e)))
            .collect::<Result<_>>()?;
        let programs: Vec<ImageProgram> = self
            .programs
            .iter()
            .map(|p| {
                Ok(ImageProgram {
                    import_path: package(&p.package)?,
                    module_dir: inside(go, &p.directory)?,
                    name: plain_name(&p.name)?,
                })
            })
            .collect::<Result<_>>()?;
        let (Some(main), false) = (programs.first(), platforms.is_empty()) else {
            return Err(wrong("it has no program, or no platform"));
        };
        let capabilities: Option<caps::Bytes> = match &self.capabilities {
            Some(digits) => Some(unhex(digits).ok_or_else(|| wrong("its capabilities can't be read"))?),
            None => None,
        };
        let kodata = self.kodata.as_ref().map(|path| inside(root, path)).transpose()?;
        let files = self.files.iter().map(|files| {
            Ok(Files {
                from: inside(root, &files.from)?,
                destination: Destination {
                    to: files.to.clone(),
                    file_name: files.file_name.clone(),
                    mode: files.mode,
                    owner: files.owner,
                },
            })
        });
        let config = &self.config;
        let image = ImagePlan {
            import_path: main.import_path.clone(),
            dir: main.module_dir.clone(),
            kodata,
            name,
            also: Vec::new(),
            tags: vec![tag],
            base: 0,
            platforms: platforms.clone(),
            programs: programs.clone(),
            programs_dir: self.programs_directory.clone(),
            capabilities,
            config: ConfigPlan {
                user: config.user.clone(),
                working_dir: config.working_dir.clone(),
                env: config.env.clone(),
                cmd: config.cmd.clone(),
                entrypoint: config.entrypoint.clone(),
                extra: config.extra.clone(),
                labels: config.labels.clone(),
            },
            annotations: self.annotations.clone(),
            files: files.collect::<Result<_>>()?,
            epoch: self.epoch,
            kodata_epoch: self.kodata_epoch,
        };
        let mut groups = Vec::new();
        for (number, (recipe, platform)) in self.platforms.iter().zip(platforms).enumerate() {
            let allowed = |(key, _): &&(String, String)| SETTINGS.contains(&key.as_str());
            if let Some((key, _)) = recipe.environment.iter().find(|pair| !allowed(pair)) {
                return Err(wrong(format!("it sets {key}, which no recipe does")));
            }
            let target = Target { platform, environment: recipe.environment.clone() };
            add_compile(&mut groups, (0, number), &programs, &target, &recipe.flags);
        }
        Ok(Plan { groups, images: vec![image] })
    }

    /// The import paths of its programs.
    ///
    /// # Errors
    /// What is no import path.
    pub fn packages(&self) -> Result<Vec<String>> {
        self.programs.iter().map(|program| package(&program.package)).collect()
    }

    /// The files of certificates below `root`.
    ///
    /// # Errors
    /// One that isn't there.
    pub fn certificates(&self, root: &Path) -> Result<Vec<PathBuf>> {
        self.certificates.iter().map(|path| inside(root, path)).collect()
    }

    /// Settings of Go for sources at `root`.
    ///
    /// # Errors
    /// A setting that no recipe has.
    pub fn settings(&self, root: &Path) -> Result<BTreeMap<String, String>> {
        if let Some(key) = self.go.settings.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
            return Err(wrong(format!("it sets {key}, which no recipe does")));
        }
        let mut settings = self.go.settings.clone();
        match self.go.workspace.as_deref() {
            None => {}
            Some("off") => drop(settings.insert("GOWORK".to_owned(), "off".to_owned())),
            Some(path) => {
                let place = inside(root, path)?;
                settings.insert("GOWORK".to_owned(), place.to_string_lossy().into_owned());
            }
        }
        Ok(settings)
    }

    /// What was secret is not in the recipe, and nothing can be made without it.
    fn check_masks(&self) -> Result<()> {
        let texts = self
            .platforms
            .iter()
            .flat_map(|p| p.flags.iter().chain(p.environment.iter().map(|(_, value)| value)));
        let config = [&self.config.env, &self.config.labels, &self.annotations, &self.go.settings];
        let mut all = texts.chain(config.into_iter().flat_map(BTreeMap::values));
        match all.any(|text| text.contains(MASK)) {
            true => Err(wrong("it leaves out a secret that the image was built with")),
            false => Ok(()),
        }
    }
}

/// In place of a path that isn't below the root.
const OUTSIDE: &str = "/";

/// A path below `root`, relative to it.
fn below(root: &Path, path: &Path) -> String {
    let path = normalise(path);
    let rest = path.strip_prefix(root).ok();
    let parts = rest.and_then(|rest| rest.components().map(|part| part.as_os_str().to_str()).collect());
    match parts.map(|parts: Vec<&str>| parts.join("/")) {
        None => OUTSIDE.to_owned(),
        Some(rest) if rest.is_empty() => ".".to_owned(),
        Some(rest) => rest,
    }
}

/// The place of a relative path.
fn inside(root: &Path, path: &str) -> Result<PathBuf> {
    if path == OUTSIDE {
        return Err(wrong("a part of it came from outside of the sources, and nothing says what that was"));
    }
    let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    match !path.is_empty() && Path::new(path).components().all(is_plain) && !path.contains(['\\', '\0']) {
        true => Ok(normalise(&root.join(path))),
        false => Err(wrong(format!("its path {path:?} leaves the sources"))),
    }
}

/// An import path, which is no flag, file or pattern.
fn package(path: &str) -> Result<String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-._~/+!$".contains(c);
    let is_plain = path.chars().all(is_known) && !path.starts_with(['-', '.', '/']) && !path.contains("..");
    match is_plain && !path.is_empty() && !path.ends_with(".go") {
        true => Ok(path.to_owned()),
        false => Err(wrong(format!("{path:?} is no import path"))),
    }
}

fn plain_name(name: &str) -> Result<String> {
    match name.is_empty() || name.contains(['/', '\\', '\0']) || name == "." || name == ".." {
        true => Err(wrong(format!("{name:?} is no file's name"))),
        false => Ok(name.to_owned()),
    }
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Integrity, "use the recipe", why.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(digits: &str) -> Option<caps::Bytes> {
    let mut bytes = caps::Bytes::default();
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_sources() {
        let root = Path::new("/w/src");
        for (path, said) in [
            ("/w/src", "."),
            ("/w/src/cmd/a", "cmd/a"),
            ("/w/other", "/"),
            ("/w/srcs", "/"),
            ("/w/src/../a", "/"),
            ("/", "/"),
        ] {
            assert_eq!(below(root, Path::new(path)), said, "{path}");
        }
        for (said, path) in [(".", "/w/src"), ("cmd/a", "/w/src/cmd/a"), ("./cmd//a/.", "/w/src/cmd/a")] {
            assert_eq!(inside(root, said).unwrap(), Path::new(path));
        }
        for bad in ["", "/", "..", "a/../..", "/etc", "a\\b", "a\0b", "../src"] {
            assert!(inside(root, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn import_paths_are_no_flags_files_or_patterns() {
        for good in ["example.com/a/b", "a", "gopkg.in/yaml.v3", "example.com/~me/x_y-z+1"] {
            assert!(package(good).is_ok(), "{good}");
        }
        for bad in
            ["", "-x", "./a", "../a", "/a", "a/...", "a/../b", "a.go", "a b", "a;b", "all\n", "a@v1", "a\\b"]
        {
            assert!(package(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn capabilities_come_back() {
        let bytes: caps::Bytes = std::array::from_fn(|n| n as u8 * 13);
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for bad in ["", "0", "zz", &"é".repeat(20), &"0".repeat(38), &"+f".repeat(20)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
