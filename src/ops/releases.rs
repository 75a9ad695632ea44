//! What templates of GoReleaser's file ask for besides ko's data, looked up.

use crate::error::Result;
use crate::event::Event;
use crate::git;
use crate::ops::Context;
use crate::plan::facts::{ReleaseFacts, TemplateFacts};
use crate::plan::release;
use crate::settings::Settings;
use crate::settings::env;

/// The facts with what GoReleaser's file adds to them, if the file is one. Warns of what surprises.
///
/// # Errors
/// What git doesn't know and a template asks for; variables that can't be evaluated.
pub(super) async fn with(cx: &Context, settings: &Settings, facts: TemplateFacts) -> Result<TemplateFacts> {
    let Some(said) = &settings.release else { return Ok(facts) };
    let roots = settings.template_roots()?;
    let git = match release::asks_git(&roots) {
        true => {
            let tag = |name| cx.env.first(&[name]);
            let (current, previous) = (tag(env::GORELEASER_CURRENT_TAG), tag(env::GORELEASER_PREVIOUS_TAG));
            git::release(&settings.cwd, current, previous).await?
        }
        false => None,
    };
    let found = ReleaseFacts {
        project: said.project.clone(),
        module: said.module.clone(),
        places: said.places.clone(),
        variables: Vec::new(),
        git,
    };
    // The file's variables see nothing of git: GoReleaser evaluates them first.
    let alone = TemplateFacts {
        release: Some(ReleaseFacts { git: None, ..found.clone() }),
        git: None,
        ..facts.clone()
    };
    let variables = release::variables(&alone, &said.env)?;
    let mut facts =
        TemplateFacts { release: Some(ReleaseFacts { variables: variables.clone(), ..found }), ..facts };
    facts.env.extend(variables);
    for warning in release::check(&facts, &roots)? {
        cx.observer.on(Event::Warning(warning));
    }
    let is_now = settings.epoch.is_none() && ["Date", "Timestamp"].iter().any(|field| roots.uses(field));
    if is_now {
        let why = "templates ask for .Date, which is now: the digest will differ in every run; .CommitDate and \
                   SOURCE_DATE_EPOCH stay the same";
        cx.observer.on(Event::Warning(why.to_owned()));
    }
    Ok(facts)
}
