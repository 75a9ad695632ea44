//! What is written down on a server: entries as results of actions (Remote Execution API v2, `ActionResult`), and
//! profiles in a form of our own.

use std::io::Read as _;

use prost::Message;

use crate::cache::Action;
use crate::cache::reapi::{self, ActionResult, OutputFile};
use crate::oci::Digest;

/// Which object an action gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The action.
    pub action: Action,
    /// Go's output id: the digest of the output.
    pub output: Digest,
    /// The output's size in bytes.
    pub size: u64,
    /// The digest of the object, which is the output compressed.
    pub object: Digest,
    /// The object's size in bytes.
    pub compressed: u64,
}

/// An entry as one of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The entry.
    pub entry: Entry,
    /// How many builds have written the profile since one that used it.
    pub unused: u32,
    /// The output itself, if it is small.
    pub contents: Option<Vec<u8>>,
    /// Where the object is, if objects lie in packs: in which of them, and at which byte it begins.
    pub place: Option<(Digest, u64)>,
}

/// What the last builds of something used, in the order of first use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The entries, each action once.
    pub items: Vec<Item>,
}

/// Outputs up to this size stand in profiles themselves: a third of all, and hardly two in a hundred of the bytes.
pub(super) const SMALL: u64 = 32 << 10;
/// Objects up to this size stand in the result of their action, which saves asking for them.
const INLINE: usize = 16 << 10;
/// No profile is larger when it is expanded.
const MAX_PROFILE: u64 = 256 << 20;
/// No object is larger.
pub(super) const MAX_OBJECT: u64 = 1 << 30;
/// No action has a result that is larger.
pub(super) const MAX_RESULT: usize = 4 << 20;

impl Entry {
    /// The result of the action, with the object in it if that is small.
    pub(super) fn to_result(&self, object: &[u8]) -> Vec<u8> {
        let contents = if object.len() <= INLINE { object.to_vec() } else { Vec::new() };
        let path = format!("{}-{}", self.output.hex(), self.size);
        let file =
            OutputFile { path, digest: Some(reapi::Digest::new(&self.object, self.compressed)), contents };
        ActionResult { output_files: vec![file] }.encode_to_vec()
    }

    /// The entry that a result says, and the object if it stands in it. None if it isn't one of ours.
    pub(super) fn from_result(action: Action, bytes: &[u8]) -> Option<(Self, Option<Vec<u8>>)> {
        let ActionResult { output_files } = ActionResult::decode(bytes).ok()?;
        let [OutputFile { path, digest, contents }] = output_files.try_into().ok()?;
        let digest = digest?;
        let (output, size) = path.split_once('-')?;
        let entry = Entry {
            action,
            output: hex(output)?,
            size: size.parse().ok()?,
            object: hex(&digest.hash)?,
            compressed: digest.size_bytes.try_into().ok()?,
        };
        let object = (contents.len() as u64 == entry.compressed).then_some(contents);
        Some((entry, object))
    }
}

impl Profile {
    /// As it is kept: compressed.
    ///
    /// # Errors
    /// Only those of a compressor without memory.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let items = self.items.iter().map(|Item { entry, unused, contents, place }| WireItem {
            action: entry.action.0.to_vec(),
            output: entry.output.bytes().to_vec(),
            size: entry.size,
            object: entry.object.bytes().to_vec(),
            compressed: entry.compressed,
            unused: *unused,
            contents: contents.clone(),
            pack: place.map(|(pack, _)| pack.bytes().to_vec()),
            offset: place.map_or(0, |(_, offset)| offset),
        });
        let bytes = WireProfile { items: items.collect() }.encode_to_vec();
        super::object::compress(&bytes[..], bytes.len() as u64)
    }

    /// What is kept, read again. None if it is no profile of this version, or is larger than any.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes).ok()?;
        decoder.take(MAX_PROFILE + 1).read_to_end(&mut plain).ok()?;
        if plain.len() as u64 > MAX_PROFILE {
            return None;
        }
        let items = WireProfile::decode(&plain[..]).ok()?.items.into_iter().map(|item| {
            let entry = Entry {
                action: Action(item.action.try_into().ok()?),
                output: Digest::from_bytes(item.output.try_into().ok()?),
                size: item.size,
                object: Digest::from_bytes(item.object.try_into().ok()?),
                compressed: item.compressed,
            };
            let pack = item.pack.map(|pack| pack.try_into().ok().map(Digest::from_bytes));
            let place = match pack {
                Some(pack) => Some((pack?, item.offset)),
                None => None,
            };
            Some(Item { entry, unused: item.unused, contents: item.contents, place })
        });
        Some(Profile { items: items.collect::<Option<_>>()? })
    }
}

/// The result that names a blob that is no object: a profile.
pub(super) fn name_blob(digest: &Digest, size: u64) -> Vec<u8> {
    let file = OutputFile {
        path: "profile".to_owned(),
        digest: Some(reapi::Digest::new(digest, size)),
        contents: Vec::new(),
    };
    ActionResult { output_files: vec![file] }.encode_to_vec()
}

/// The blob that such a result names, and its size.
pub(super) fn named_blob(bytes: &[u8]) -> Option<(Digest, u64)> {
    let ActionResult { output_files } = ActionResult::decode(bytes).ok()?;
    let [OutputFile { digest, .. }] = output_files.try_into().ok()?;
    let digest = digest?;
    Some((hex(&digest.hash)?, digest.size_bytes.try_into().ok()?))
}

fn hex(text: &str) -> Option<Digest> {
    format!("sha256:{text}").parse().ok()
}

#[derive(Clone, PartialEq, Message)]
struct WireItem {
    #[prost(bytes = "vec", tag = "1")]
    action: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    output: Vec<u8>,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(bytes = "vec", tag = "4")]
    object: Vec<u8>,
    #[prost(uint64, tag = "5")]
    compressed: u64,
    #[prost(uint32, tag = "6")]
    unused: u32,
    #[prost(bytes = "vec", optional, tag = "7")]
    contents: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pack: Option<Vec<u8>>,
    #[prost(uint64, tag = "9")]
    offset: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WireProfile {
    #[prost(message, repeated, tag = "1")]
    items: Vec<WireItem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8, compressed: u64) -> Entry {
        let digest = |text: &str| Digest::of(format!("{text} {number}").as_bytes());
        let action = Action([number; 32]);
        Entry { action, output: digest("output"), size: 1000, object: digest("object"), compressed }
    }

    #[test]
    fn an_entry_comes_back_with_a_small_object_in_it() {
        let small = entry(1, 3);
        let back = Entry::from_result(small.action, &small.to_result(b"abc")).unwrap();
        assert_eq!(back, (small, Some(b"abc".to_vec())));
        let large = vec![7; INLINE + 1];
        let entry = entry(2, large.len() as u64);
        let back = Entry::from_result(entry.action, &entry.to_result(&large)).unwrap();
        assert_eq!(back, (entry, None));
    }

    #[test]
    fn what_is_not_ours_is_no_entry() {
        let action = Action([1; 32]);
        let result = |files: Vec<OutputFile>| ActionResult { output_files: files }.encode_to_vec();
        let digest = Some(reapi::Digest::new(&Digest::of(b""), 0));
        let file =
            |path: &str| OutputFile { path: path.to_owned(), digest: digest.clone(), contents: vec![] };
        let hex = Digest::of(b"").hex();
        assert!(Entry::from_result(action, &result(vec![file(&format!("{hex}-0"))])).is_some());
        for bytes in [
            Vec::new(),
            b"<html>".to_vec(),
            result(vec![]),
            result(vec![file("bazel-out/a.o")]),
            result(vec![file(&format!("{hex}--1"))]),
            result(vec![file(&format!("{}-0", &hex[1..]))]),
            result(vec![file(&format!("{hex}-0")), file(&format!("{hex}-0"))]),
            result(vec![OutputFile { digest: None, ..file(&format!("{hex}-0")) }]),
        ] {
            assert_eq!(Entry::from_result(action, &bytes), None);
        }
    }

    #[test]
    fn a_profile_comes_back() {
        let profile = Profile {
            items: vec![
                Item { entry: entry(1, 3), unused: 0, contents: Some(b"small".to_vec()), place: None },
                Item {
                    entry: entry(2, 100_000),
                    unused: 2,
                    contents: None,
                    place: Some((Digest::of(b"p"), 7)),
                },
                Item { entry: entry(3, 0), unused: 0, contents: Some(Vec::new()), place: None },
            ],
        };
        let bytes = profile.encode().unwrap();
        assert_eq!(Profile::decode(&bytes), Some(profile));
        assert_eq!(Profile::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Profile::decode(b"not found"), None);
        let wrong = WireProfile { items: vec![WireItem { action: vec![1; 31], ..WireItem::default() }] };
        let wrong = wrong.encode_to_vec();
        let wrong = super::super::object::compress(&wrong[..], wrong.len() as u64).unwrap();
        assert_eq!(Profile::decode(&wrong), None);
    }
}
