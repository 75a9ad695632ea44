//! The files of `--image-refs` and `--digest-file`.

use crate::error::Result;
use crate::report::Published;
use crate::settings::Settings;

/// Writes the references, and the digests, of all that was published, where they are wanted.
pub(super) fn write(settings: &Settings, published: &[Published]) -> Result<()> {
    if let Some(path) = &settings.image_refs {
        crate::fs::write_atomically(&settings.cwd.join(path), lines(published).as_bytes())?;
    }
    if let Some(path) = &settings.digest_file {
        let digests: String = published.iter().map(|image| format!("{}\n", image.digest)).collect();
        crate::fs::write_atomically(&settings.cwd.join(path), digests.as_bytes())?;
    }
    Ok(())
}

/// Every image by digest, as ko; of an index the index first, then each of its images.
fn lines(published: &[Published]) -> String {
    let mut lines = String::new();
    for image in published {
        let (name, _) = image.reference.rsplit_once('@').unwrap_or((&image.reference, ""));
        lines.push_str(&format!("{}\n", image.reference));
        if image.media_type.is_index() {
            for platform in &image.platforms {
                lines.push_str(&format!("{name}@{}\n", platform.digest));
            }
        }
    }
    lines
}
