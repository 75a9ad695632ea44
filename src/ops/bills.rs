//! What is in the images of a run: documents, which become files (`--sbom-dir`) and are attached to images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::attest::{self, Bill, Facts, Format, Program};
use crate::content::{Beside, Blob, Referrer};
use crate::error::{Error, Kind, Result};
use crate::image::Filesystem;
use crate::image::assemble::Image;
use crate::oci::{Descriptor, Digest, Tag, annotation};
use crate::ops::base::Bases;
use crate::ops::debug::Debugger;
use crate::ops::publish::Packed;
use crate::ops::signer::Signer;
use crate::plan::{ImagePlan, PROGRAMS_DIR, debug};
use crate::settings::Base;

/// What is in an image for one platform.
pub(super) struct Contents<'a> {
    pub(super) packed: &'a Packed,
    pub(super) debugger: Option<&'a Debugger>,
}

/// A document about an image for one platform, or about an index.
pub(super) struct Document {
    /// The name of its file.
    name: String,
    bytes: Bytes,
    /// The digest of the manifest or index that it is about.
    digest: Digest,
    /// The image, and when it was made. Of an index nothing: what it holds says it better.
    about: Option<(Descriptor, String)>,
}

impl Document {
    /// The artifact that says this of its image, signed if somebody signs.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn referrer(&self, format: Format, signer: Option<&Signer>) -> Result<Option<Referrer>> {
        let Some((subject, created)) = &self.about else { return Ok(None) };
        if let Some(signer) = signer {
            let predicate = serde_json::from_slice(&self.bytes)
                .map_err(|e| Error::new(Kind::Internal, "sign the SBOM", e))?;
            let about = attest::Subject { name: None, digest: subject.digest };
            let statement = attest::statement(&[about], format.predicate_type(), &predicate)?;
            return signer.attest(subject, format.predicate_type(), &statement, created).map(Some);
        }
        let mut layer = Blob::of(format.media_type(), self.bytes.clone());
        // By which `oras pull` names the file.
        layer.descriptor.annotations.insert(annotation::TITLE.to_owned(), self.name.clone());
        // The image's own, so that it is the same artifact each time.
        let annotations = BTreeMap::from([(annotation::CREATED.to_owned(), created.clone())]);
        Referrer::artifact(format.media_type(), vec![layer], annotations, subject).map(Some)
    }

    /// The same as an image beside the one that it is about, just as ko has it: one layer, which is the document. Nobody
    /// signs it.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn beside(&self, format: Format) -> Result<Beside> {
        let layer = Blob::of(format.media_type_of_layer(), self.bytes.clone());
        Beside::of(Tag::of_sbom(&self.digest), vec![layer], false)
    }
}

/// The SBOMs of an image: one for each platform, and one for the index if there is one. `images` and `contents` are in
/// the order of the platforms.
pub(super) fn documents(
    format: Format,
    plan: &ImagePlan,
    bases: &Bases,
    images: &[Image],
    root: &Blob,
    contents: Vec<Contents<'_>>,
) -> Result<Vec<Document>> {
    let app = plan.name.program.as_str();
    let names = attest::file_names(format, app, &bases.platforms());
    let mut documents = Vec::new();
    let mut all = Vec::new();
    let platforms = bases.list.iter().zip(&bases.of);
    for (((image, contents), name), ((platform, inherited), root)) in
        images.iter().zip(contents).zip(names).zip(platforms)
    {
        let base = base(&root.base, inherited.origin.as_ref());
        let digest = image.manifest.descriptor.digest;
        let facts = Facts { app, digest, platform, created: &image.created, base };
        let debugger = contents.debugger.map(|d| {
            let place = Filesystem::of(platform).path(&format!("{PROGRAMS_DIR}/{}", debug::PROGRAM));
            (place, d.modules.as_ref())
        });
        let packed = contents.packed.programs.contents.iter().map(|p| (p.path.clone(), p.modules.as_ref()));
        let mut programs = Vec::new();
        for (path, modules) in packed.chain(debugger) {
            let modules = modules.ok_or_else(|| {
                let why = format!("{path} holds no record of its Go modules");
                Error::new(Kind::Input, format!("write the SBOM for {platform}"), why)
                    .hint("let go build it without taking the section .go.buildinfo away")
            })?;
            programs.push(Program { path, modules });
        }
        let bytes = format.document(Bill::of_image(&facts, &programs))?.into();
        let about = Some((image.manifest.descriptor.clone(), image.created.clone()));
        documents.push(Document { name, bytes, digest, about });
        all.push(facts);
    }
    if root.descriptor.media_type.is_index() {
        let base = bases.one().and_then(|one| base(&one.base, bases.origin().as_ref()));
        let digest = root.descriptor.digest;
        let bill = Bill::of_index(app, &digest, base.as_ref(), &all);
        let name = attest::index_file_name(format, app);
        documents.push(Document { name, bytes: format.document(bill)?.into(), digest, about: None });
    }
    Ok(documents)
}

fn base<'a>(base: &'a Base, origin: Option<&(String, Digest)>) -> Option<attest::Base<'a>> {
    match (base, origin) {
        (Base::Scratch, _) => None,
        (Base::Static(_), _) => {
            Some(attest::Base::BuiltIn(crate::base::VERSION, crate::base::data_versions()))
        }
        (Base::Registry(reference), Some((_, digest))) => Some(attest::Base::Registry(reference, *digest)),
        (
            Base::Registry(_)
            | Base::Docker(_)
            | Base::Layout(..)
            | Base::OciArchive(..)
            | Base::DockerArchive(_),
            _,
        ) => Some(attest::Base::Local),
    }
}

/// Documents on their way to a directory.
pub(super) struct Files {
    dir: PathBuf,
    files: Vec<(PathBuf, Bytes)>,
}

impl Files {
    /// Checks, before anything is published, that every file can get its name.
    pub(super) fn new(dir: &Path, documents: impl Iterator<Item = Document>) -> Result<Self> {
        let mut files = Vec::new();
        for document in documents {
            let path = dir.join(document.name);
            crate::fs::replaceable(&path)?;
            files.push((path, document.bytes));
        }
        Ok(Files { dir: dir.to_owned(), files })
    }

    /// Writes them, each as a whole.
    pub(super) fn write(&self) -> Result<()> {
        crate::fs::make_hidden(&self.dir)?;
        self.files.iter().try_for_each(|(path, bytes)| crate::fs::write_atomically(path, bytes))
    }
}
