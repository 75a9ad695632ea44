//! `gimg inspect`: what is in an image or a program's file, and what takes how much room.

use std::path::Path;

use crate::attest::{Format, Licences, PROVENANCE, SIGNED};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::explain::documents::Documents;
use crate::oci::{Descriptor, MediaType, Platform};
use crate::ops::home::Home;
use crate::ops::opened::{self, Opened, Root};
use crate::ops::{Context, claimed, compared, contained, growth, measured, why};
use crate::report::{
    Against, Attached, AttachedKind, Inspected, InspectedConfig, InspectedImage, InspectedLayer,
};
use crate::settings::subject::Subject;

/// What of a subject is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Only the image for this platform.
    pub platform: Option<&'a Platform>,
    /// The programs of every image. Otherwise those of one: for linux/amd64, or the first.
    pub all: bool,
}

/// What is in `subject`, and what differs from `against`.
///
/// # Errors
/// What can't be read; a package, which isn't built yet; a file that is no Go program.
pub async fn inspect(
    cx: &Context,
    subject: &Subject,
    against: Option<&Subject>,
    wanted: Wanted<'_>,
) -> Result<Inspected> {
    [Some(subject), against].into_iter().flatten().try_for_each(built)?;
    let mut found = one(cx, subject, wanted).await?;
    if let Some(other) = against {
        let why = why::why(cx, other, subject, wanted.platform).await?;
        let growth = match why.same {
            true => Vec::new(),
            false => growth::growth(&one(cx, other, wanted).await?, &found),
        };
        found.against = Some(Against { why, growth });
    }
    Ok(found)
}

/// Checks that a page can be written to `path`.
///
/// # Errors
/// Something there that isn't a file, or in place of one of its directories.
pub fn writable(path: &Path) -> Result<()> {
    crate::fs::replaceable(path)
}

/// Writes a page: all of it, or nothing.
///
/// # Errors
/// Whatever the system says.
pub fn write(path: &Path, page: &str) -> Result<()> {
    crate::fs::write_atomically(path, page.as_bytes())
}

fn built(subject: &Subject) -> Result<()> {
    match subject {
        Subject::Package(package) => {
            let error = Error::new(Kind::Usage, format!("inspect {package}"), "a package has no size yet");
            Err(error.hint("build it, and name its image or program"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn one(cx: &Context, subject: &Subject, wanted: Wanted<'_>) -> Result<Inspected> {
    if let Subject::File(path) = subject {
        let (program, digest) = contained::program(cx, path).await?;
        let name = program.path.clone();
        let program = measured::measured(cx, vec![program], &Licences::default()).await?.pop();
        let (annotations, platforms) = Default::default();
        let (attached, media_type, against) = (None, None, None);
        return Ok(Inspected {
            name,
            digest,
            media_type,
            annotations,
            attached,
            platforms,
            usual: 0,
            program,
            against,
        });
    }
    let root = opened::root(cx, subject).await?;
    let opened = images(&root, wanted.platform).await?;
    let attached = attached(cx, &root, &root.descriptor).await?;
    let usual = usual(&opened);
    let mut platforms = Vec::new();
    for (number, image) in opened.iter().enumerate() {
        let is_read = wanted.all || number == usual;
        platforms.push(of_image(cx, &root, image, attached.as_deref(), is_read).await?);
    }
    Ok(Inspected {
        digest: root.descriptor.digest,
        media_type: Some(root.descriptor.media_type.clone()),
        annotations: root.index.as_ref().map(|index| index.annotations.clone()).unwrap_or_default(),
        attached: attached.map(|listed| listed.iter().map(named).collect()),
        platforms,
        usual,
        program: None,
        against: None,
        name: root.name,
    })
}

/// The images of a root, or only that for `platform`.
async fn images(root: &Root, platform: Option<&Platform>) -> Result<Vec<Opened>> {
    if platform.is_some() {
        return Ok(vec![root.open(platform).await?]);
    }
    let opened = root.all().await?;
    if opened.is_empty() {
        let why = "it is an index without images";
        return Err(Error::new(Kind::Input, format!("read {}", root.name), why));
    }
    Ok(opened)
}

/// Which image is looked into where one is enough.
fn usual(images: &[Opened]) -> usize {
    let platform = Platform::new("linux", "amd64");
    platform.best_of(images.iter().map(|image| &image.platform)).unwrap_or_default()
}

async fn of_image(
    cx: &Context,
    root: &Root,
    image: &Opened,
    of_root: Option<&[Descriptor]>,
    is_read: bool,
) -> Result<InspectedImage> {
    let is_root = image.descriptor.digest == root.descriptor.digest;
    let listed = match is_root {
        true => of_root.map(<[Descriptor]>::to_vec),
        false => attached(cx, root, &image.descriptor).await?,
    };
    let documents = Documents { manifest: &image.manifest, config: &image.config, base: None };
    let standing = match documents.base_layers() {
        None => compared::standing(cx, image, &documents).await,
        Some(_) => None,
    };
    let documents = Documents { base: standing.as_ref(), ..documents };
    let below = documents.base_layers();
    let programs = match is_read {
        true => {
            let own = image.manifest.layers.iter().take(below.unwrap_or_default());
            let below = own.filter(|layer| !layer.media_type.is_foreign()).count();
            let programs = contained::over(cx, image, below).await?;
            let licences = match (root.repository(), &listed) {
                (Some(repository), Some(listed)) if !programs.is_empty() => {
                    let home = Home::Registry(cx.origin(), repository.clone());
                    claimed::licences(cx, &home, &image.descriptor.digest, listed).await?
                }
                _ => Licences::default(),
            };
            Some(measured::measured(cx, programs, &licences).await?)
        }
        false => None,
    };
    let sizes = image.manifest.layers.iter().map(|layer| layer.size);
    let size = sizes.fold(image.manifest.config.size, u64::saturating_add);
    Ok(InspectedImage {
        platform: image.platform.to_string(),
        digest: image.descriptor.digest,
        media_type: image.descriptor.media_type.clone(),
        size: size.saturating_add(image.descriptor.size),
        base: documents.base_name(),
        annotations: image.manifest.annotations.clone(),
        attached: listed.filter(|_| !is_root).map(|listed| listed.iter().map(named).collect()),
        config: config(image),
        layers: layers(image, below),
        programs,
    })
}

fn config(image: &Opened) -> InspectedConfig {
    let (config, run) = (&image.config, &image.config.config);
    InspectedConfig {
        created: config.created.clone(),
        author: config.author.clone(),
        user: run.user.clone(),
        working_dir: run.working_dir.clone(),
        entrypoint: run.entrypoint.clone(),
        cmd: run.cmd.clone(),
        env: run.env.clone(),
        labels: run.labels.clone(),
        fields: run.extra.clone(),
    }
}

/// The layers, of which the lowest are the base's: how many, if that is known.
fn layers(image: &Opened, below: Option<usize>) -> Vec<InspectedLayer> {
    let steps = image.config.history.iter().filter(|step| step.empty_layer != Some(true)).collect::<Vec<_>>();
    // Where there are more or fewer of them than layers nobody knows which is of which.
    let has_steps = steps.len() == image.manifest.layers.len();
    let layer = |(number, layer): (usize, &Descriptor)| {
        let step = steps.get(number).filter(|_| has_steps);
        InspectedLayer {
            digest: layer.digest,
            media_type: layer.media_type.clone(),
            size: layer.size,
            diff_id: image.config.rootfs.diff_ids.get(number).copied(),
            base: below.map(|below| number < below),
            created: step.and_then(|step| step.created.clone()),
            created_by: step.and_then(|step| step.created_by.clone()),
            comment: step.and_then(|step| step.comment.clone()),
        }
    };
    image.manifest.layers.iter().enumerate().map(layer).collect()
}

/// What refers to something in a registry; none where that isn't known.
async fn attached(cx: &Context, root: &Root, to: &Descriptor) -> Result<Option<Vec<Descriptor>>> {
    let Some(repository) = root.repository() else { return Ok(None) };
    match cx.registry.referrers(repository, &to.digest, None).await {
        Ok(listed) => Ok(Some(listed)),
        // The image is there all the same.
        Err(error) if error.kind() != Kind::Auth => {
            let what = format!("what is attached to {} is unknown: {error}", to.digest);
            cx.observer.on(Event::Warning(what));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn named(artifact: &Descriptor) -> Attached {
    let predicate_type = artifact.predicate_type().map(str::to_owned);
    let is_sbom = |predicate: &str| Format::ALL.iter().any(|format| format.predicate_type() == predicate);
    let kind = match (&artifact.artifact_type, predicate_type.as_deref()) {
        (Some(kind), _) if Format::of(kind).is_some() => AttachedKind::Sbom,
        (Some(kind), _) if *kind == MediaType::INPUTS => AttachedKind::Inputs,
        (_, Some(PROVENANCE)) => AttachedKind::Provenance,
        (_, Some(SIGNED)) => AttachedKind::Signature,
        (_, Some(predicate)) if is_sbom(predicate) => AttachedKind::Sbom,
        _ => AttachedKind::Other,
    };
    let artifact_type = artifact.artifact_type.clone();
    Attached { kind, digest: artifact.digest, artifact_type, predicate_type }
}
