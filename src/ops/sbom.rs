//! `gimg sbom`: what a program or an image is made of, by what the programs say of themselves.

use std::path::Path;

use crate::attest::{self, Bill, Facts, Format, Modules, Program};
use crate::binary::BuildInfo;
use crate::error::{Error, Kind, Result};
use crate::go::Places;
use crate::image::assemble::EPOCH;
use crate::oci::{Digest, Platform};
use crate::ops::contained::{self, Contained};
use crate::ops::modules;
use crate::ops::opened::{self, Opened};
use crate::ops::{Context, build};
use crate::settings::subject::{OnDisk, Subject};
use crate::settings::{Destination, Sboms, Settings};

/// The largest document that is read back, in bytes.
const MAX: u64 = 64 << 20;

/// What the words for a subject mean, by what is on disk.
///
/// # Errors
/// As [`Subject::parse`].
pub fn subject(cwd: &Path, text: &str) -> Result<Subject> {
    let path = cwd.join(text);
    let is_directory = crate::fs::is_directory(&path);
    let there = match crate::fs::exists(&path) {
        true if is_directory && crate::fs::exists(&path.join("oci-layout")) => OnDisk::Layout,
        true if is_directory => OnDisk::Directory,
        true => OnDisk::File,
        false => OnDisk::Nothing,
    };
    Subject::parse(text, there)
}

/// The document about `subject`, of an image the one for `platform`; without a format what Go recorded, as
/// `go version -m` says it.
///
/// # Errors
/// What can't be read; a file or image without a Go program.
pub async fn sbom(
    cx: &Context,
    subject: &Subject,
    platform: Option<&Platform>,
    format: Option<Format>,
) -> Result<Vec<u8>> {
    if let Subject::File(path) = subject {
        let (program, digest) = contained::program(cx, path).await?;
        return match format {
            Some(format) => of_program(cx, path, &program, &digest, format).await,
            None => Ok(recorded(&[program])),
        };
    }
    let image = opened::open(cx, subject, platform).await?;
    let programs = contained::programs(cx, &image).await?;
    if programs.is_empty() {
        let why = format!("the image for {} holds no Go program", image.platform);
        return Err(Error::new(Kind::Input, format!("read {}", image.name), why));
    }
    match format {
        Some(format) => of_image(cx, &image, &programs, format).await,
        None => Ok(recorded(&programs)),
    }
}

/// The same about the package of `settings`, which is compiled for their only platform and published nowhere.
///
/// # Errors
/// As a build, and [`sbom()`].
pub async fn of_package(cx: &Context, mut settings: Settings, format: Option<Format>) -> Result<Vec<u8>> {
    let dir = cx.scratch.directory()?;
    let (layout, documents) = (dir.join("layout"), dir.join("documents"));
    settings.destinations = vec![Destination::Layout(layout.clone())];
    settings.further.clear();
    (settings.image_refs, settings.digest_file) = (None, None);
    settings.sboms = Sboms { format, asked: true, dir: format.map(|_| documents.clone()), tag: false };
    build::build(cx, &settings).await?;
    if format.is_none() {
        return sbom(cx, &Subject::Layout(layout, None), None, None).await;
    }
    let io = |e: std::io::Error| Error::io("read the SBOM", &documents, &e);
    let names = crate::fs::names(&documents).map_err(io)?;
    match names.as_slice() {
        [name] => crate::fs::read_small(&documents.join(name), MAX).map_err(io),
        names => {
            let why = format!("there are {} programs, and one SBOM is for one", names.len());
            Err(Error::new(Kind::Usage, "read the packages", why).hint("name one package"))
        }
    }
}

async fn of_program(
    cx: &Context,
    path: &Path,
    program: &Contained,
    digest: &Digest,
    format: Format,
) -> Result<Vec<u8>> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let info = info(program)?;
    let time = info.setting("vcs.time");
    let places = Places::of_environment(cx.env.all());
    let modules = modules::of(cx, Some(&places), info, &program.file).await?;
    format.document(Bill::of_program(&name, digest, &modules, time))
}

async fn of_image(cx: &Context, image: &Opened, programs: &[Contained], format: Format) -> Result<Vec<u8>> {
    let base = image.base();
    let facts = Facts {
        app: &image.app,
        digest: image.descriptor.digest,
        platform: &image.platform,
        created: image.config.created.as_deref().unwrap_or(EPOCH),
        base: base.as_ref().map(|(reference, digest)| attest::Base::Registry(reference, *digest)),
    };
    let places = Places::of_environment(cx.env.all());
    let mut modules: Vec<Modules> = Vec::new();
    for program in programs {
        modules.push(modules::of(cx, Some(&places), info(program)?, &program.file).await?);
    }
    let programs: Vec<Program<'_>> = programs
        .iter()
        .zip(&modules)
        .map(|(program, modules)| Program { path: program.path.clone(), modules })
        .collect();
    format.document(Bill::of_image(&facts, &programs))
}

/// What the linker recorded; all that gets here has it.
fn info(program: &Contained) -> Result<&BuildInfo> {
    let why = "it holds no record of its Go modules";
    program.header.build_info.as_ref().ok_or_else(|| Error::new(Kind::Input, "read the binary", why))
}

/// As `go version -m` prints it.
fn recorded(programs: &[Contained]) -> Vec<u8> {
    let of = |program: &Contained| Some(format!("{}: {}", program.path, program.header.build_info.as_ref()?));
    programs.iter().filter_map(of).collect::<String>().into_bytes()
}
