//! What changed with a run against what its images' tags stood for before, or another image. Nothing of it can make a run
//! fail: the images are published by then.

use futures_util::{StreamExt as _, stream};

use crate::content::Graph;
use crate::error::Result;
use crate::event::Event;
use crate::oci::Reference;
use crate::ops::inspect::{self, Wanted};
use crate::ops::publish::Publisher;
use crate::ops::{AT_ONCE, Context, growth, why};
use crate::plan::ImagePlan;
use crate::report::{Before, Comparison, Published, Report, Summarized, Summary};
use crate::settings::subject::Subject;
use crate::settings::summary::Summary as Wish;
use crate::settings::{Destination, Settings};

/// What the tags of the images stand for, before they move: asked only if a summary is wanted.
pub(super) async fn before(publisher: &Publisher<'_>) -> Vec<Before> {
    let Settings { summary, destinations, .. } = publisher.settings;
    let is_asked = summary.is_some() && destinations.contains(&Destination::Registry);
    let looks = publisher.images.iter().map(|image| async move {
        match is_asked {
            true => stood_for(publisher.cx, image).await,
            false => Before::NotAsked,
        }
    });
    stream::iter(looks).buffered(AT_ONCE).collect().await
}

/// The first of its tags that stands for something, such as `latest` beside a new version.
async fn stood_for(cx: &Context, image: &ImagePlan) -> Before {
    let Some(repository) = &image.name.repository else { return Before::NotAsked };
    for tag in &image.tags {
        match cx.registry.tagged(repository, tag).await {
            Ok(Some((descriptor, _))) => {
                return Before::Image { tag: tag.to_string(), digest: descriptor.digest };
            }
            Ok(None) => {}
            Err(error) => {
                let what = format!("what {repository}:{tag} stood for before is unknown: {error}");
                cx.observer.on(Event::Warning(what));
                return Before::Unknown;
            }
        }
    }
    Before::Nothing
}

/// Where an image is in its registry, by digest, if it is pushed.
pub(super) fn pushed(publisher: &Publisher<'_>, graph: &Graph) -> Option<Reference> {
    let is_pushed = publisher.settings.destinations.contains(&Destination::Registry);
    let repository = graph.name.repository.clone().filter(|_| is_pushed)?;
    Some(Reference { repository, tag: None, digest: Some(graph.root.descriptor.digest) })
}

/// What there is to tell of a run that is done.
#[derive(Debug)]
pub struct Told {
    /// What was published.
    pub report: Report,
    /// What changed, if that is wanted.
    pub summary: Option<Summary>,
}

/// Runs `work`, which publishes, and adds what changed with it.
///
/// # Errors
/// Those of `work`.
pub async fn of(
    cx: &Context,
    settings: &Settings,
    work: impl Future<Output = Result<Report>>,
) -> Result<Told> {
    let report = work.await?;
    let summary = summary(cx, settings, &report).await;
    Ok(Told { report, summary })
}

/// What is to be said of a run, if anything is. What can't be compared is a warning.
async fn summary(cx: &Context, settings: &Settings, report: &Report) -> Option<Summary> {
    let wish = settings.summary.as_ref()?;
    let mut images = Vec::new();
    for published in &report.images {
        let compared = compared(cx, wish, published).await.unwrap_or_else(|error| {
            let what = format!("what changed in {} is unknown: {error}", published.reference);
            cx.observer.on(Event::Warning(what));
            Comparison::Unknown
        });
        images.push(Summarized { published: published.clone(), compared });
    }
    Some(Summary { images })
}

async fn compared(cx: &Context, wish: &Wish, image: &Published) -> Result<Comparison> {
    let Some(pushed) = &image.pushed else { return Ok(Comparison::Elsewhere) };
    let (other, tag) = match (&wish.against, &image.before) {
        (Some(reference), _) => (reference.clone(), None),
        (None, Before::Image { tag, digest }) => {
            let repository = pushed.repository.clone();
            (Reference { repository, tag: None, digest: Some(*digest) }, Some(tag.clone()))
        }
        (None, Before::Nothing) => return Ok(Comparison::First),
        (None, Before::NotAsked | Before::Unknown) => return Ok(Comparison::Unknown),
    };
    let with = |digest| format!("{}@{digest}", other.repository);
    if other.digest == Some(image.digest) {
        return Ok(Comparison::Same { with: with(image.digest), tag });
    }
    let wanted = Wanted { platform: None, all: false };
    let was = inspect::one(cx, &Subject::Registry(other.clone()), wanted).await?;
    if was.digest == image.digest {
        return Ok(Comparison::Same { with: with(image.digest), tag });
    }
    let now = Subject::Registry(pushed.clone());
    // By digest: the tag may have moved meanwhile.
    let old = Reference { digest: Some(was.digest), tag: None, ..other.clone() };
    let why = why::why(cx, &Subject::Registry(old), &now, None).await?;
    let growth = growth::growth(&was, &inspect::one(cx, &now, wanted).await?);
    Ok(Comparison::Other { with: with(was.digest), tag, was: Box::new(was), why, growth })
}

/// Writes the report of a run, and adds its summary to what is in that file already, where they are wanted.
///
/// # Errors
/// Whatever the system says.
pub fn write(settings: &Settings, report: &str, summary: Option<String>) -> Result<()> {
    if let Some(path) = &settings.report {
        crate::fs::write_atomically(path, report.as_bytes())?;
    }
    match settings.summary.as_ref().zip(summary) {
        Some((wish, text)) => crate::fs::append(&wish.file, text.as_bytes()),
        None => Ok(()),
    }
}
