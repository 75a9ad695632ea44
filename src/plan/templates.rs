//! Templates in the file and the flags: what they are evaluated with, as in ko (`createTemplateData`).

use crate::error::Result;
use crate::plan::command::Target;
use crate::plan::facts::TemplateFacts;
use crate::settings::template::{self, Data, Value};

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

    /// A text that is the same for every platform, of a program with this environment. `what` is its key.
    ///
    /// # Errors
    /// A template that can't be read, or asks for what isn't there.
    pub fn render(&self, what: &str, text: &str, env: &[(String, String)]) -> Result<String> {
        if !template::has_template(text) {
            return Ok(text.to_owned());
        }
        let mut all = self.facts.env.clone();
        all.extend(env.iter().cloned());
        let data = Data {
            env: all,
            go_env: self.facts.go_env.clone(),
            epoch: self.facts.time,
            git: self.facts.git.as_ref(),
        };
        template::render(text, &Value::from(data)).map_err(|e| e.within(format!("read {what}")))
    }

    /// A text for one target, whose GOOS and GOARCH it may ask for.
    ///
    /// # Errors
    /// As [`Templates::render`].
    pub fn render_for(&self, what: &str, text: &str, target: &Target) -> Result<String> {
        self.render(what, text, &target.environment)
    }
}
