//! What a compiled Go binary says about itself: platform, loader, build information. Pure over a given reader.
//!
//! Only headers and the build information's section are read, never the whole file; what is read is bounded, so a
//! hostile file can't take the memory.

mod build_info;
pub mod diff;
mod headers;
mod packages;
mod pclntab;
mod sections;
pub mod sizes;

use std::io::{Read, Seek};

pub use build_info::{BuildInfo, Module};
pub use packages::packages;
pub use sections::Sort;

use crate::error::{Error, Kind, Result};
use crate::oci::Platform;

/// The family of executable formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Linux, the BSDs and most others.
    Elf,
    /// Windows.
    Pe,
    /// macOS and iOS.
    MachO,
    /// WebAssembly.
    Wasm,
    /// None of these: no executable.
    Unknown,
}

impl Format {
    /// The name users know.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Elf => "ELF",
            Format::Pe => "PE (Windows)",
            Format::MachO => "Mach-O (macOS)",
            Format::Wasm => "WebAssembly",
            Format::Unknown => "unknown",
        }
    }

    /// The format that Go writes for this GOOS.
    #[must_use]
    pub fn of_os(os: &str) -> Self {
        match os {
            "windows" => Format::Pe,
            "darwin" | "ios" => Format::MachO,
            "js" | "wasip1" => Format::Wasm,
            _ => Format::Elf,
        }
    }
}

/// What the headers of a binary say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format.
    pub format: Format,
    /// The CPU as GOARCH; `None` if Go knows no such CPU.
    pub architecture: Option<&'static str>,
    /// 32 or 64; 0 in a format that doesn't say.
    pub bits: u8,
    /// Whether numbers are little-endian.
    pub little_endian: bool,
    /// The dynamic loader that an ELF binary asks for (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// What the Go linker recorded; `None` if another compiler, or Go before 1.18, made the binary.
    pub build_info: Option<BuildInfo>,
}

impl Header {
    /// Whether the binary runs only where a dynamic loader and its libraries are, which `static` and `scratch` lack.
    #[must_use]
    pub fn needs_loader(&self) -> bool {
        self.interpreter.is_some()
    }

    /// The binary in words: `ELF arm64`.
    #[must_use]
    pub fn describe(&self) -> String {
        match (self.format, self.architecture) {
            (Format::Unknown, _) => "no executable".to_owned(),
            (format, Some(architecture)) => format!("{} {architecture}", format.name()),
            (format, None) => format!("{} for a CPU that Go doesn't know", format.name()),
        }
    }
}

/// How the files of programs begin: ELF, PE, and Mach-O of 32 and 64 bits.
const MAGICS: &[&[u8]] = &[b"\x7fELF", b"MZ", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"];

/// Whether a file that starts with these bytes, four or more, may be a program.
#[must_use]
pub fn begins_as_program(start: &[u8]) -> bool {
    MAGICS.iter().any(|magic| start.starts_with(magic))
}

/// Reads the headers of a binary. What is no executable is [`Format::Unknown`], not an error.
///
/// # Errors
/// Reading fails (kind `LocalIo`), or headers that contradict themselves (kind `Input`).
pub fn inspect<R: Read + Seek>(mut reader: R) -> Result<Header> {
    let (mut header, places) = headers::read(&mut reader)?;
    for (offset, size) in places {
        header.build_info = build_info::find(&mut reader, offset, size)?;
        if header.build_info.is_some() {
            break;
        }
    }
    Ok(header)
}

/// Checks that a binary is one for `platform`: format, CPU, and what the Go linker recorded (GOOS, GOARCH, and a
/// GOARM not above the platform's variant).
///
/// # Errors
/// It is not (kind `Input`).
pub fn check(header: &Header, platform: &Platform) -> Result<()> {
    let refuse = |is: String| {
        Err(Error::new(Kind::Input, "use the binary", format!("it is {is}, the platform is {platform}")))
    };
    if header.format != Format::of_os(&platform.os) || header.architecture != Some(&*platform.architecture) {
        return refuse(header.describe());
    }
    let Some(info) = &header.build_info else { return Ok(()) };
    if let Some(os) = info.setting("GOOS").filter(|os| *os != platform.os) {
        return refuse(format!("built for GOOS={os}"));
    }
    if let Some(arch) = info.setting("GOARCH").filter(|arch| *arch != platform.architecture) {
        return refuse(format!("built for GOARCH={arch}"));
    }
    // GOARM may carry `,softfloat`. An older instruction set runs on a newer CPU, not the other way round.
    let arm = info.setting("GOARM").and_then(|arm| arm.split(',').next()?.parse::<u8>().ok());
    let variant = platform.variant.as_deref().and_then(|v| v.strip_prefix('v')?.parse::<u8>().ok());
    match (arm, variant) {
        (Some(arm), Some(variant)) if platform.architecture == "arm" && arm > variant => {
            refuse(format!("built for GOARM={arm}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
