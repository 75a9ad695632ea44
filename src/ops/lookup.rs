//! Settings become facts: the toolchain, the packages and their bases, each asked once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::git;
use crate::go::{self, Fetched, Go};
use crate::image::certificates::Certificate;
use crate::oci::Platform;
use crate::ops::Context;
use crate::ops::base::{self, Bases};
use crate::ops::engines::Engines;
use crate::ops::fetched;
use crate::ops::memo::Memo;
use crate::ops::programs;
use crate::ops::releases;
use crate::ops::remote::Ahead;
use crate::ops::trust;
use crate::plan::facts::{Facts, GitState, Package, TemplateFacts, Toolchain};
use crate::plan::{program_of, release};
use crate::settings::program::Rule;
use crate::settings::{Settings, Stand, lock};

/// What was looked up: facts for the plan, and what later stages take from the bases.
pub(super) struct Found {
    pub(super) facts: Facts,
    pub(super) go: Go,
    /// As the facts' bases.
    pub(super) bases: Vec<Bases>,
    pub(super) engines: Engines,
    /// What is added to the CA bundles.
    pub(super) certificates: Vec<Certificate>,
    /// The module that was fetched, if packages of another were named than the one around.
    pub(super) module: Option<Fetched>,
}

/// Looks everything up; toolchain and packages beside the base, if all programs have the same.
/// Engines come first: they decide the platforms that nobody named.
pub(super) async fn lookup(
    cx: &Context,
    settings: &Settings,
    memo: &Memo,
    ahead: Option<&Ahead<'_>>,
) -> Result<Found> {
    let certificates = trust::certificates(settings).await?;
    let engines = Engines::connect(cx, settings).await?;
    let platforms = engines.requested(&settings.platforms);
    let (elsewhere, module) = fetched::fetch(cx, settings).await?.unzip();
    let settings = &Settings { platforms, ..elsewhere.unwrap_or_else(|| settings.clone()) };
    let rules = rules(settings)?;
    let early = settings.base.of_all(&settings.rules);
    let programs = async {
        let find = programs::toolchain(cx, settings, memo);
        let (go, git, source) = tokio::try_join!(find, git_state(settings), source(settings))?;
        let go = if module.is_some() { go.without_workspace() } else { go };
        let templates = TemplateFacts {
            env: cx.env.all().clone(),
            go_env: go.toolchain.env.clone(),
            time: settings.epoch.unwrap_or(cx.now),
            git,
            source,
            release: None,
        };
        let templates = releases::with(cx, settings, templates).await?;
        let (found, with) = programs::list(cx, settings, (memo, ahead), &go, &rules, &templates).await?;
        Ok((go, templates, found, with))
    };
    let early_base = async {
        match &early {
            Some(stand) => Ok(Some(base::lookup(cx, settings, Some(memo), stand).await?)),
            None => Ok(None),
        }
    };
    let ((go, templates, packages, with), early_base) = tokio::try_join!(programs, early_base)?;
    warn_about_unmatched(cx, settings, &rules, &packages);
    let (chosen, bases) = match (&early, early_base) {
        (Some(stand), Some(found)) => (vec![stand.clone()], vec![found]),
        _ => bases(cx, settings, Some(memo), &rules, &packages).await?,
    };
    check_bases(cx, settings, &engines, &bases)?;
    let bases_facts = with_platforms(chosen, &bases);
    cx.observer.on(Event::Detail(format!(
        "{} builds {} programs",
        go.toolchain.version,
        packages.iter().flatten().count()
    )));
    let facts =
        Facts { toolchain: go.toolchain.clone(), packages, rules, with, bases: bases_facts, templates };
    Ok(Found { facts, go, bases, engines, certificates, module })
}

/// What was looked up for a program that something else compiled.
pub(super) struct Prebuilt {
    pub(super) facts: Facts,
    /// As the facts' bases.
    pub(super) bases: Vec<Bases>,
    pub(super) engines: Engines,
    /// What is added to the CA bundles.
    pub(super) certificates: Vec<Certificate>,
}

/// Looks up what an image needs whose program is compiled: no toolchain is asked. Sources need not be there.
pub(super) async fn lookup_prebuilt(
    cx: &Context,
    settings: &Settings,
    package: &Package,
) -> Result<Prebuilt> {
    let certificates = trust::certificates(settings).await?;
    let engines = Engines::connect(cx, settings).await?;
    let platforms = engines.requested(&settings.platforms);
    let settings = &Settings { platforms, ..settings.clone() };
    let there = settings.rules.iter().map(|rule| crate::fs::is_directory(&rule.package));
    let rules: Vec<Option<String>> = settings
        .rules
        .iter()
        .zip(there)
        .map(|(rule, there)| if there { path_of(rule) } else { None })
        .collect();
    for (rule, _) in settings.rules.iter().zip(&rules).filter(|(_, path)| path.is_none()) {
        let dir = rule.package.display();
        cx.observer
            .on(Event::Warning(format!("{} doesn't count: no package of a module is at {dir}", rule.name)));
    }
    let packages = vec![vec![package.clone()]];
    let (git, source, (chosen, bases)) = tokio::try_join!(
        git_state(settings),
        source(settings),
        bases(cx, settings, None, &rules, &packages)
    )?;
    check_bases(cx, settings, &engines, &bases)?;
    let templates = TemplateFacts {
        env: cx.env.all().clone(),
        time: settings.epoch.unwrap_or(cx.now),
        git,
        source,
        ..TemplateFacts::default()
    };
    let templates = releases::with(cx, settings, templates).await?;
    let facts = Facts {
        toolchain: Toolchain::default(),
        packages,
        rules,
        with: BTreeMap::new(),
        bases: with_platforms(chosen, &bases),
        templates,
    };
    Ok(Prebuilt { facts, bases, engines, certificates })
}

/// Checks what was found of the bases against what the run wants of them, and warns.
fn check_bases(cx: &Context, settings: &Settings, engines: &Engines, bases: &[Bases]) -> Result<()> {
    trust::check(settings, bases)?;
    for found in bases {
        engines.check(cx, &found.platforms())?;
    }
    warn_about_unlocked(cx, settings, bases);
    Ok(())
}

/// The bases as facts: each with its platforms.
fn with_platforms(chosen: Vec<Stand>, bases: &[Bases]) -> Vec<(Stand, Vec<Platform>)> {
    chosen.into_iter().zip(bases).map(|(stand, found)| (stand, found.platforms())).collect()
}

/// Git's state, if a template asks for it.
async fn git_state(settings: &Settings) -> Result<Option<GitState>> {
    let roots = settings.template_roots()?;
    let asked = settings.annotate_vcs
        || roots.uses("Git")
        || (settings.release.is_some() && release::asks_git(&roots));
    if asked { git::state(&settings.cwd).await } else { Ok(None) }
}

/// Where the repository comes from, if annotations ask for it.
async fn source(settings: &Settings) -> Result<Option<String>> {
    Ok(if settings.annotate_vcs { git::source(&settings.cwd).await } else { None })
}

/// The import path of each entry of the file: its module's path and where it lies in it.
fn rules(settings: &Settings) -> Result<Vec<Option<String>>> {
    let mut paths = Vec::new();
    for rule in &settings.rules {
        if !crate::fs::is_directory(&rule.package) {
            let why = format!("there is no directory {}", rule.package.display());
            return Err(Error::new(Kind::Input, format!("use {}", rule.name), why)
                .hint("main is a package's directory, or a file in it, relative to dir"));
        }
        paths.push(path_of(rule));
    }
    Ok(paths)
}

/// The import path of an entry's program, if its directory is in a module.
fn path_of(rule: &Rule) -> Option<String> {
    let (module, path) = go::module_around(&rule.package)?;
    let below = rule.package.strip_prefix(&module).unwrap_or(&rule.package);
    let parts = below.components().map(|c| c.as_os_str().to_string_lossy().into_owned());
    Some(std::iter::once(path).chain(parts).collect::<Vec<_>>().join("/"))
}

/// An entry that no program of the run is for: perhaps a mistake, which ko says nothing about.
fn warn_about_unmatched(
    cx: &Context,
    settings: &Settings,
    rules: &[Option<String>],
    packages: &[Vec<Package>],
) {
    // All of GoReleaser's are built unless packages are named: then the others are left out on purpose.
    if settings.release.is_some() {
        return;
    }
    let unmatched = settings.rules.iter().zip(rules).filter(|(_, path)| {
        !packages.iter().flatten().any(|p| path.as_deref() == Some(p.import_path.as_str()))
    });
    let names: Vec<String> = unmatched.map(|(rule, _)| rule.name.clone()).collect();
    if !names.is_empty() {
        let verb = if names.len() == 1 { "is" } else { "are" };
        cx.observer.on(Event::Warning(format!("{} {verb} for no program of this run", names.join(", "))));
    }
}

/// A base that the lock file doesn't name: it may be another one tomorrow, which the file is there to rule out.
fn warn_about_unlocked(cx: &Context, settings: &Settings, bases: &[Bases]) {
    let Some(lock) = &settings.lock else { return };
    let names: BTreeSet<String> =
        bases.iter().flat_map(|b| &b.of).filter_map(|root| lock.lacks(&root.base)).collect();
    for name in names {
        let flag = if settings.base.fixed.is_some() { format!(" --base {name}") } else { String::new() };
        let file = lock::FILE;
        cx.observer
            .on(Event::Warning(format!("the base {name} has no entry in {file}: gimg lock{flag} adds it")));
    }
}

/// What the packages stand on, each looked up once.
async fn bases(
    cx: &Context,
    settings: &Settings,
    memo: Option<&Memo>,
    rules: &[Option<String>],
    packages: &[Vec<Package>],
) -> Result<(Vec<Stand>, Vec<Bases>)> {
    let mut chosen: Vec<Stand> = Vec::new();
    for package in packages.iter().flatten() {
        let (program, _) = program_of(settings, rules, &package.import_path);
        let stand = settings.base.of(&package.import_path, program);
        if !chosen.contains(&stand) {
            chosen.push(stand);
        }
    }
    let found = try_join_all(chosen.iter().map(|stand| base::lookup(cx, settings, memo, stand))).await?;
    Ok((chosen, found))
}
