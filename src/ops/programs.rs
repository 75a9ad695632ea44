//! The toolchain and the programs that the arguments name: asked of Go, unless a memo knows and nothing changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::{Step, Timing};
use crate::fs::{Moment, Paths};
use crate::go::{self, Go, Told};
use crate::ops::Context;
use crate::ops::memo::{Made, Memo, known_toolchain};
use crate::ops::remote::Ahead;
use crate::plan::command;
use crate::plan::facts::{Package, TemplateFacts};
use crate::plan::packages::{self, Modules, Query};
use crate::plan::program_of;
use crate::plan::templates::Templates;
use crate::settings::Settings;

/// The toolchain where the user is.
pub(super) async fn toolchain(cx: &Context, settings: &Settings, memo: &Memo) -> Result<Go> {
    let what = "the toolchain";
    let (temporary, guardian) = (cx.scratch.directory()?, cx.guardian.clone());
    let key = memo.key(what, &(&settings.go, &settings.cwd, go::environment(cx.env.all())));
    let known = memo.recall::<Told>(key, what).await.same();
    if let Some(told) = known.clone().filter(|_| !memo.audits()) {
        return Go::known(&settings.go, cx.env.all(), temporary, guardian, told);
    }
    memo.look(go::above(&settings.cwd, cx.env.all())).await;
    let begun = Moment::now();
    let go = go::find(&settings.go, &settings.cwd, cx.env.all(), temporary, guardian).await?;
    memo.audit(what, known.as_ref(), &go.told())?;
    let paths = go::of_toolchain(&go, &settings.cwd, cx.env.all());
    if let (Some(key), Some(paths)) = (key, paths) {
        let made = Made { key, what: what.to_owned(), begun, paths, git: None };
        memo.remember(made, go.told());
    }
    Ok(go)
}

/// The main packages of each argument, and the further programs of images by entry of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    packages: Vec<Vec<Package>>,
    with: BTreeMap<usize, Vec<Package>>,
}

/// The programs that the arguments name, and those that go with them.
pub(super) async fn list(
    cx: &Context,
    settings: &Settings,
    (memo, ahead): (&Memo, Option<&Ahead<'_>>),
    go: &Go,
    rules: &[Option<String>],
    templates: &TemplateFacts,
) -> Result<(Vec<Vec<Package>>, BTreeMap<usize, Vec<Package>>)> {
    let what = "the programs";
    let (target, flags) = asked(go, settings, templates)?;
    let own = settings.rules.iter().map(|rule| (&rule.package, &rule.program.with));
    let key = memo.key(
        what,
        &(
            known_toolchain(go),
            go::environment(cx.env.all()),
            (&settings.cwd, &settings.packages, command::list_flags(&flags), &target.environment),
            (rules, own.collect::<Vec<_>>(), &settings.program.with),
        ),
    );
    let known = memo.recall::<Listed>(key, what).await.same();
    if let Some(listed) = known.clone().filter(|_| !memo.audits()) {
        return Ok((listed.packages, listed.with));
    }
    // Something is new, or this machine is: most likely something will be compiled.
    if let Some(ahead) = ahead {
        ahead.begin(go);
    }
    let begun = Moment::now();
    let timing = Timing::of(&cx.observer, Step::List);
    let ask = async |go| {
        let lister = Lister::new(go, settings, rules, target.clone(), flags.clone()).await?;
        let packages = lister.list(&settings.packages, &settings.places).await?;
        let with = lister.companions(&packages).await?;
        Ok((lister, Listed { packages, with }))
    };
    // Perhaps nothing is compiled, and then no module is needed.
    let offline = go.offline();
    let answer: Option<(Lister<'_>, Listed)> = match settings.shares {
        true => Result::ok(ask(&offline).await),
        false => None,
    };
    let (lister, listed) = match answer {
        Some(answer) => answer,
        None => timing.end(ask(go).await)?,
    };
    memo.audit(what, known.as_ref(), &listed)?;
    if let (Some(key), Some(paths)) = (key, lister.paths(&listed, cx.env.all())) {
        let made = Made { key, what: what.to_owned(), begun, paths, git: None };
        memo.remember(made, listed.clone());
    }
    Ok((listed.packages, listed.with))
}

/// What packages are listed for: the first platform, with the flags that choose packages.
fn asked(go: &Go, settings: &Settings, templates: &TemplateFacts) -> Result<(command::Target, Vec<String>)> {
    let (templates, first) = (Templates::new(templates), settings.platforms.first());
    let program = templates.program(&settings.program, &first)?;
    let target = command::target(&first, &go.toolchain, &program.env)?;
    let flags = program.flags.iter().map(|f| templates.render_for("flags", f, &target));
    Ok((target.clone(), flags.collect::<Result<Vec<String>>>()?))
}

/// Asks `go list`.
struct Lister<'a> {
    go: &'a Go,
    settings: &'a Settings,
    rules: &'a [Option<String>],
    main: Vec<PathBuf>,
    known: BTreeMap<String, PathBuf>,
    target: command::Target,
    flags: Vec<String>,
}

impl<'a> Lister<'a> {
    async fn new(
        go: &'a Go,
        settings: &'a Settings,
        rules: &'a [Option<String>],
        target: command::Target,
        flags: Vec<String>,
    ) -> Result<Self> {
        let main = go::main_modules(go, &settings.cwd).await?;
        let with_path = settings.rules.iter().zip(rules);
        let known =
            with_path.filter_map(|(rule, path)| Some((path.clone()?, rule.package.clone()))).collect();
        Ok(Lister { go, settings, rules, main, known, target, flags })
    }

    /// The main packages of every argument; a failure names the argument's place, if it has one.
    async fn list(&self, arguments: &[String], places: &[String]) -> Result<Vec<Vec<Package>>> {
        let queries = self.queries(arguments);
        let mut found = vec![Vec::new(); arguments.len()];
        for query in &queries {
            self.check_module(query)?;
            let lists = go::list(self.go, query, &self.flags, &self.target).await?;
            for (argument, packages) in query.arguments.iter().zip(lists) {
                let packages = packages.map_err(|e| match places.get(*argument) {
                    Some(place) => e.at(place),
                    None => e,
                })?;
                if let Some(slot) = found.get_mut(*argument) {
                    *slot = packages;
                }
            }
        }
        Ok(found)
    }

    /// The further programs of the images of the entries that are used.
    async fn companions(&self, packages: &[Vec<Package>]) -> Result<BTreeMap<usize, Vec<Package>>> {
        let mut all = BTreeMap::new();
        for package in packages.iter().flatten() {
            let (program, rule) = program_of(self.settings, self.rules, &package.import_path);
            let Some(rule) = rule.filter(|r| !program.with.is_empty() && !all.contains_key(r)) else {
                continue;
            };
            let directories: Vec<String> = program.with.iter().map(|d| d.display().to_string()).collect();
            let found = self.list(&directories, &[]).await.map_err(|e| {
                let name = self.settings.rules.get(rule).map_or("builds", |r| r.name.as_str());
                e.within(format!("use {name}"))
            })?;
            all.insert(rule, found.into_iter().flatten().collect());
        }
        Ok(all)
    }

    fn queries(&self, arguments: &[String]) -> Vec<Query> {
        let modules = Modules { nearest: &crate::fs::nearest_module, main: &self.main, known: &self.known };
        packages::queries(arguments, &self.settings.cwd, &modules)
    }

    /// What decides the answers. None where that isn't known.
    fn paths(&self, listed: &Listed, env: &BTreeMap<String, String>) -> Option<Paths> {
        let mut paths = go::of_toolchain(self.go, &self.settings.cwd, env)?;
        let further = listed.with.values().flatten().map(|p| p.dir.display().to_string());
        let arguments: Vec<String> = self.settings.packages.iter().cloned().chain(further).collect();
        let found = listed.packages.iter().chain(listed.with.values()).flatten();
        let found: Vec<PathBuf> = found.map(|p| p.dir.clone()).collect();
        for query in self.queries(&arguments) {
            paths.merge(go::of_query(self.go, &query, &self.main, &found)?);
        }
        Some(paths)
    }

    /// Without a module or workspace `go` would speak of GOPATH; say it plainly.
    fn check_module(&self, query: &Query) -> Result<()> {
        if self.main.is_empty() && crate::fs::nearest_module(&query.dir).is_none() {
            return Err(go::no_module(&query.dir));
        }
        Ok(())
    }
}
