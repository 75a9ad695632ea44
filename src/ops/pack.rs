//! `gimg pack`: programs that something else compiled become the image that `gimg build` makes of them, to the byte.
//! No Go toolchain is asked for anything.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::{Semaphore, SetOnce};

use crate::binary;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::go::Binary;
use crate::image::assemble::Inherited;
use crate::image::certificates::Certificate;
use crate::oci::Platform;
use crate::ops::base::Bases;
use crate::ops::engines::Engines;
use crate::ops::lookup::{self, lookup_prebuilt};
use crate::ops::publish::Publisher;
use crate::ops::signer::Signer;
use crate::ops::{Context, blocking, targets};
use crate::plan::facts::Package;
use crate::plan::{self, ImagePlan};
use crate::report::Report;
use crate::settings::pack::{Pack, Prebuilt, check_import_path};

/// Reads, packs and publishes.
///
/// # Errors
/// A program that can't be read, is for another platform or is another program than the rest; whatever a stage says.
pub async fn pack(cx: &Context, pack: &Pack) -> Result<Report> {
    let start = Instant::now();
    let Ready { image, binaries, bases, engines, certificates } = ready(cx, pack).await?;
    let binaries = of_platforms(&bases[image.base].list, &pack.programs, &binaries)?;
    let copiers = targets::copiers(cx, &pack.settings, &engines)?;
    let images = [image];
    let publisher = Publisher {
        cx,
        settings: &pack.settings,
        images: &images,
        bases: &bases,
        copiers: &copiers,
        certificates: &certificates,
        memo: None,
        signer: Signer::new(cx, &pack.settings).await?,
        places: None,
        between: SetOnce::new(),
        writing: Semaphore::new(pack.settings.jobs),
    };
    let programs = binaries.into_iter().enumerate().map(|(platform, binary)| {
        let publisher = &publisher;
        async move {
            let (packed, _) = publisher.pack(0, platform, std::slice::from_ref(binary)).await?;
            publisher.send_early(0, platform, &packed).await?;
            Ok::<_, Error>(((0, platform), packed))
        }
    });
    let no_debuggers = std::future::ready(Ok(BTreeMap::new()));
    let (packed, ()) = tokio::try_join!(try_join_all(programs), publisher.prepare(no_debuggers))?;
    let images = publisher.publish(&packed.into_iter().collect(), None, None).await?;
    Ok(Report { images, named: Vec::new(), elapsed: start.elapsed() })
}

/// The program of each platform of the base: those of one CPU share it, whatever version of the system they name.
fn of_platforms<'b>(
    platforms: &[(Platform, Inherited)],
    programs: &[Prebuilt],
    binaries: &'b [Binary],
) -> Result<Vec<&'b Binary>> {
    let same = |a: &Platform, b: &Platform| {
        (&a.os, &a.architecture, &a.variant) == (&b.os, &b.architecture, &b.variant)
    };
    let of = |platform: &Platform| {
        let found = programs.iter().zip(binaries).filter(|(p, _)| same(&p.platform, platform));
        let exact = found.clone().find(|(p, _)| p.platform == *platform);
        exact.or_else(|| found.clone().next()).map(|(_, binary)| binary)
    };
    let none = |p| Error::new(Kind::Internal, "pack", format!("there is no program for {p}"));
    platforms.iter().map(|(p, _)| of(p).ok_or_else(|| none(p))).collect()
}

/// A run of `pack` before anything is written: the image to make, and the programs as they were named.
pub(super) struct Ready {
    pub(super) image: ImagePlan,
    pub(super) binaries: Vec<Binary>,
    pub(super) bases: Vec<Bases>,
    pub(super) engines: Engines,
    pub(super) certificates: Vec<Certificate>,
}

/// Reads the programs and plans their image.
pub(super) async fn ready(cx: &Context, pack: &Pack) -> Result<Ready> {
    let settings = &pack.settings;
    for warning in &settings.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    if let Some(dir) = pack.kodata.as_ref().filter(|dir| !crate::fs::is_directory(dir)) {
        return Err(Error::new(Kind::Input, "read --kodata", "there is no such directory").at(dir.display()));
    }
    // The first program's failure is reported, not the fastest.
    let read = join_all(pack.programs.iter().map(|p| read(cx, p))).await;
    let binaries = read.into_iter().collect::<Result<Vec<Binary>>>()?;
    let import_path = match &pack.import_path {
        Some(path) => path.clone(),
        None => import_path(&pack.programs, &binaries)?,
    };
    // Nothing of it is on this machine.
    let package = Package { import_path, dir: settings.cwd.clone(), module_dir: settings.cwd.clone() };
    let lookup::Prebuilt { facts, bases, engines, certificates } =
        lookup_prebuilt(cx, settings, &package).await?;
    let image = plan::prebuilt(settings, &facts, &package, pack.kodata.clone())?;
    Ok(Ready { image, binaries, bases, engines, certificates })
}

/// Takes a private copy of a program and checks that it is one for its platform.
pub(super) async fn read(cx: &Context, program: &Prebuilt) -> Result<Binary> {
    let (scratch, path) = (std::sync::Arc::clone(&cx.scratch), program.path.clone());
    let (copy, size) = blocking(move || scratch.copy_of(&path)).await?;
    let opened = crate::fs::open_to_seek(&copy).map_err(|e| Error::io("read the binary", &copy, &e))?;
    let at = |e: Error| e.at(program.path.display());
    let header = binary::inspect(opened).map_err(at)?;
    binary::check(&header, &program.platform).map_err(at)?;
    Ok(Binary { path: copy, size, header })
}

/// The import path that all programs say they have.
pub(super) fn import_path(programs: &[Prebuilt], binaries: &[Binary]) -> Result<String> {
    let mut first: Option<(&str, &Prebuilt)> = None;
    for (program, binary) in programs.iter().zip(binaries) {
        let bad = |why: String| {
            Error::new(Kind::Input, "use the binary", why)
                .at(program.path.display())
                .hint("name the import path with --import-path")
        };
        let path = binary.header.build_info.as_ref().map_or("", |info| info.path.as_str());
        // What Go says of a program that was built from a list of files.
        if path.is_empty() || path == "command-line-arguments" {
            return Err(bad("it names no import path".to_owned()));
        }
        check_import_path(path).map_err(bad)?;
        match first {
            None => first = Some((path, program)),
            Some((other, of)) if other != path => {
                let why = format!("it is {path} for {}, but {other} for {}", program.platform, of.platform);
                return Err(
                    bad(why).hint("one image is of one program; --import-path names it if they are the same")
                );
            }
            Some(_) => {}
        }
    }
    first
        .map(|(path, _)| path.to_owned())
        .ok_or_else(|| Error::new(Kind::Usage, "read --binary", "there is none"))
}
