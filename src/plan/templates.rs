//! Templates in the file and the flags: what they are evaluated with, as in ko (`createTemplateData`), and for
//! GoReleaser's file as there.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::oci::Platform;
use crate::plan::command::Target;
use crate::plan::facts::TemplateFacts;
use crate::plan::release;
use crate::plan::secrets::Secrets;
use crate::settings::program::Program;
use crate::settings::template::{self, Data, Functions, Value};

/// Evaluates templates.
pub struct Templates<'f> {
    facts: &'f TemplateFacts,
}

impl<'f> Templates<'f> {
    /// With these facts.
    #[must_use]
    pub fn new(facts: &'f TemplateFacts) -> Self {
        Templates { facts }
    }

    /// Whether the file is GoReleaser's, by whose rules a text that becomes empty isn't there.
    #[must_use]
    pub fn drop_empty(&self) -> bool {
        self.facts.release.is_some()
    }

    /// A text that is the same for every platform, of a program with this environment. `what` is its key.
    ///
    /// # Errors
    /// A template that can't be read, or asks for what isn't there.
    pub fn render(&self, what: &str, text: &str, env: &[(String, String)]) -> Result<String> {
        self.render_with(what, text, env, None)
    }

    /// A text for one target, whose GOOS and GOARCH it may ask for.
    ///
    /// # Errors
    /// As [`Templates::render`].
    pub fn render_for(&self, what: &str, text: &str, target: &Target) -> Result<String> {
        self.render_with(what, text, &target.environment, Some(&target.platform))
    }

    /// A program with its environment evaluated for a platform.
    ///
    /// # Errors
    /// As [`Templates::render`]; a variable without a name.
    pub fn program<'p>(&self, program: &'p Program, platform: &Platform) -> Result<Cow<'p, Program>> {
        match &self.facts.release {
            Some(facts) => release::program(self, facts, program, platform),
            None => Ok(Cow::Borrowed(program)),
        }
    }

    pub(super) fn render_with(
        &self,
        what: &str,
        text: &str,
        env: &[(String, String)],
        platform: Option<&Platform>,
    ) -> Result<String> {
        if !template::has_template(text) {
            return Ok(text.to_owned());
        }
        let mut all = self.facts.env.clone();
        all.extend(env.iter().cloned());
        let release = self.facts.release.as_ref();
        let data = Data {
            env: all,
            go_env: self.facts.go_env.clone(),
            epoch: self.facts.time,
            git: self.facts.git.as_ref(),
            more: release.map(|release| release::fields(self.facts, release, platform)),
        };
        let functions = if release.is_some() { Functions::GoReleasers } else { Functions::Gos };
        template::render(text, &Value::from(data), functions)
            .map_err(|e| self.placed(e.within(format!("read {what}")), text))
    }

    /// An error about what a text became, without secrets of the environment, and with the text's place if it is known.
    pub(super) fn placed(&self, error: Error, text: &str) -> Error {
        let secrets = Secrets::of(self.facts.env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let error = error.edited(&|said| secrets.text(said));
        match self.facts.release.as_ref().and_then(|release| release.places.get(text)) {
            Some(place) => error.at(place),
            None => error,
        }
    }
}
