//! Where the sources of a run's images are, and where they come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;

use crate::git;
use crate::go::{self, Fetched, Go};
use crate::plan::facts::Sources;
use crate::plan::recipe::Source;
use crate::plan::{CompileGroup, ImagePlan, Plan};

/// The sources of each image of a plan, which are those of a `module` if that was fetched.
pub(super) async fn lookup((go, module): (&Go, Option<&Fetched>), plan: &Plan) -> Vec<Sources> {
    if let Some(module) = module {
        let source =
            Source { module: Some(format!("{}@{}", module.path, module.version)), ..Source::default() };
        let of = |image: &ImagePlan| {
            let has_kodata = has_kodata(image);
            Sources { root: module.dir.clone(), source: source.clone(), has_kodata }
        };
        return plan.images.iter().map(of).collect();
    }
    // Where Go stamps the programs, it says itself whether there are changes.
    let stamped = |dir: &Path| {
        let of_dir = |group: &&CompileGroup| group.dir == dir;
        plan.groups.iter().filter(of_dir).all(|group| go::may_stamp(go, group))
    };
    let main = plan.images.iter().filter_map(|image| Some(image.programs.first()?.module_dir.clone()));
    let looks: BTreeMap<PathBuf, bool> = main.map(|dir| (dir.clone(), stamped(&dir))).collect();
    let looks = looks.into_iter().map(|(dir, stamped)| async move {
        let found = around(go, &dir, stamped).await;
        (dir, found)
    });
    let found: BTreeMap<PathBuf, Sources> = join_all(looks).await.into_iter().collect();
    let of = plan.images.iter().map(|image| {
        let found = image.programs.first().and_then(|program| found.get(&program.module_dir));
        Sources { has_kodata: has_kodata(image), ..found.cloned().unwrap_or_default() }
    });
    of.collect()
}

fn has_kodata(image: &ImagePlan) -> bool {
    image.kodata.as_ref().is_some_and(|dir| crate::fs::is_directory(dir))
}

/// The sources around `dir`, where go runs.
async fn around(go: &Go, dir: &Path, stamped: bool) -> Sources {
    if let Some(checkout) = git::checkout(dir).await {
        let modified = !stamped && git::is_modified(dir).await;
        let (repository, revision) = (checkout.origin, Some(checkout.revision));
        let source = Source { module: None, repository, revision, modified };
        return Sources { root: checkout.root, source, has_kodata: false };
    }
    let workspace = go.toolchain.env.get("GOWORK").map(PathBuf::from);
    let workspace = workspace.as_deref().and_then(Path::parent).filter(|root| dir.starts_with(root));
    Sources { root: workspace.unwrap_or(dir).to_owned(), ..Sources::default() }
}
