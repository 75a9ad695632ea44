//! The files that say what is in the images of a run (`--sbom-dir`).

use std::path::{Path, PathBuf};

use crate::attest::{self, Facts, Program};
use crate::content::Blob;
use crate::error::{Error, Kind, Result};
use crate::image::Filesystem;
use crate::image::assemble::Image;
use crate::oci::Digest;
use crate::ops::base::Bases;
use crate::ops::debug::Debugger;
use crate::ops::publish::Packed;
use crate::plan::{ImagePlan, PROGRAMS_DIR, debug};
use crate::settings::Base;

/// What is in an image for one platform.
pub(super) struct Contents<'a> {
    pub(super) packed: &'a Packed,
    pub(super) debugger: Option<&'a Debugger>,
}

/// The SBOMs of an image: names of files and their bytes, one for each platform, and one for the index if there is
/// one. `images` and `contents` are in the order of the platforms.
pub(super) fn documents(
    plan: &ImagePlan,
    bases: &Bases,
    images: &[Image],
    root: &Blob,
    contents: Vec<Contents<'_>>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let app = plan.name.program.as_str();
    let names = attest::file_names(app, &bases.platforms());
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
            (place, d.modules.clone())
        });
        let mut programs = Vec::new();
        for (path, modules) in contents.packed.programs.contents.iter().chain(&debugger) {
            let modules = modules.as_ref().ok_or_else(|| {
                let why = format!("{path} holds no record of its Go modules");
                Error::new(Kind::Input, format!("write the SBOM for {platform}"), why)
                    .hint("let go build it without taking the section .go.buildinfo away")
            })?;
            programs.push(Program { path: path.clone(), modules });
        }
        documents.push((name, attest::image(&facts, &programs)?));
        all.push(facts);
    }
    if root.descriptor.media_type.is_index() {
        let base = bases.one().and_then(|one| base(&one.base, bases.origin().as_ref()));
        let index = attest::index(app, &root.descriptor.digest, base.as_ref(), &all)?;
        documents.push((attest::index_file_name(app), index));
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
pub(super) struct Sboms {
    dir: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Sboms {
    /// Checks, before anything is published, that every file can get its name.
    pub(super) fn new(dir: &Path, documents: impl Iterator<Item = (String, Vec<u8>)>) -> Result<Self> {
        let mut files = Vec::new();
        for (name, bytes) in documents {
            let path = dir.join(name);
            crate::fs::replaceable(&path)?;
            files.push((path, bytes));
        }
        Ok(Sboms { dir: dir.to_owned(), files })
    }

    /// Writes them, each as a whole.
    pub(super) fn write(&self) -> Result<()> {
        crate::fs::make_hidden(&self.dir)?;
        self.files.iter().try_for_each(|(path, bytes)| crate::fs::write_atomically(path, bytes))
    }
}
