//! What GoReleaser's file says that gimg's own has no keys for, and what beats it. Pure.

use std::collections::BTreeMap;

use crate::plan::naming::Naming;
use crate::settings::Words;
use crate::settings::config::Config;
use crate::settings::env::{self, Env};

/// What such a file says about the whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// `project_name`, else what GoReleaser takes for it; none if that isn't known here.
    pub project: Option<String>,
    /// The path of the module that the user is in.
    pub module: Option<String>,
    /// Variables for templates and compiles, as `KEY=value`; templates.
    pub env: Vec<String>,
    /// Where each template stands: `file:line:column` by its text.
    pub places: BTreeMap<String, String>,
    /// What becomes of SBOMs, as `--sbom` takes it.
    pub sbom: Option<String>,
    /// A directory for them.
    pub sbom_dir: Option<String>,
}

/// What such a file says about one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What messages call the entry.
    pub name: Option<String>,
    /// Environment of `go build`, as `KEY=value`; templates, which may see those before them.
    pub env: Vec<String>,
    /// The program's name in the image; a template.
    pub binary: Option<String>,
    /// Its own platforms; empty for those of the run.
    pub platforms: Vec<String>,
    /// How the names of its repositories are made.
    pub naming: Option<Naming>,
    /// Seconds since 1970 for `created`; a template.
    pub created: Option<String>,
    /// Seconds since 1970 for kodata's times; a template.
    pub kodata_created: Option<String>,
}

impl Own {
    /// Every text that may be a template.
    pub fn templates(&self) -> impl Iterator<Item = &String> {
        self.env.iter().chain(&self.binary).chain(&self.created).chain(&self.kodata_created)
    }
}

/// Takes out of the file what flags and the environment say otherwise: platforms, repositories, and how names are made.
pub(super) fn overruled(mut file: Config, words: &Words, env: &Env) -> Config {
    if file.release.is_none() {
        return file;
    }
    let platforms = !words.platforms.is_empty() || env.first(&[env::KO_DEFAULTPLATFORMS]).is_some();
    let repo = !words.repo.is_empty() || env.first(&[env::GIMG_REPO, env::KO_DOCKER_REPO]).is_some();
    for build in &mut file.builds {
        if platforms {
            build.own.platforms.clear();
        }
        if repo {
            build.repo.0.clear();
        }
        if words.naming.is_some() {
            build.own.naming = words.naming;
        }
    }
    file
}
