//! Manifests and configs of two images: what they stand on, what their configs say, and which layers are to be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::explain::{Cause, Change, Sort};
use crate::image::assemble::EPOCH;
use crate::oci::{Descriptor, Digest, History, ImageConfig, ImageManifest, MediaType, annotation};

/// Who builds images as gimg does: what stands in the history of their layers.
const BUILDERS: &[&str] = &["gimg", "ko"];
/// How the history of the built-in base begins.
const BUILT_IN: &str = "gimg static@";

/// The documents of an image for one platform.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a> {
    /// Its manifest.
    pub manifest: &'a ImageManifest,
    /// Its config.
    pub config: &'a ImageConfig,
    /// What it stands on, as far as that was looked up.
    pub base: Option<&'a Standing>,
}

/// What an image inherits from its base.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The base's config; one without fields for `scratch`.
    pub config: ImageConfig,
    /// The base's annotations.
    pub annotations: BTreeMap<String, String>,
    /// How many layers the base has.
    pub layers: usize,
}

impl Documents<'_> {
    /// How many of its layers are the base's, from the lowest up, by what its history says; none if that isn't known.
    #[must_use]
    pub fn base_layers(&self) -> Option<usize> {
        if let Some(base) = self.base {
            return Some(base.layers);
        }
        let steps = self.steps()?;
        let last = steps.last()?;
        if !BUILDERS.contains(&last.author.as_deref()?) {
            return None;
        }
        // A base can be made by the same program: each image has steps of its own.
        let is_own = |step: &&&History| (&step.author, &step.created_by) == (&last.author, &last.created_by);
        Some(steps.len() - steps.iter().rev().take_while(is_own).count())
    }

    /// What it stands on, in words, with the digests of that, if it is known.
    #[must_use]
    pub fn base_name(&self) -> Option<String> {
        let annotation = |key| self.manifest.annotations.get(key);
        if let Some(digest) = annotation(annotation::BASE_DIGEST) {
            let name = annotation(annotation::BASE_NAME).map(String::as_str).unwrap_or_default();
            return Some(format!("{name}@{digest}"));
        }
        match self.base_layers()? {
            0 => Some("scratch".to_owned()),
            _ => Some(self.built_in().unwrap_or("another").to_owned()),
        }
    }

    /// The built-in base that it stands on: `static@1`.
    #[must_use]
    pub fn built_in(&self) -> Option<&str> {
        let (steps, layers) = (self.steps()?, self.base_layers()?);
        let by = steps.first().filter(|_| layers == 1)?.created_by.as_deref()?;
        by.starts_with(BUILT_IN).then(|| by.trim_start_matches("gimg "))
    }

    /// The steps that made a layer each, if there are as many as layers.
    fn steps(&self) -> Option<Vec<&History>> {
        let history = self.config.history.iter();
        let steps: Vec<&History> = history.filter(|step| step.empty_layer != Some(true)).collect();
        (steps.len() == self.manifest.layers.len()).then_some(steps)
    }

    fn diff_ids(&self) -> Option<&[Digest]> {
        let ids = &self.config.rootfs.diff_ids;
        (ids.len() == self.manifest.layers.len()).then_some(ids)
    }

    /// The program that made it, as its last step says.
    fn tool(&self) -> Option<String> {
        self.steps()?.last()?.author.clone()
    }

    /// What the step of a layer was for: kodata, files, programs. Two images' layers are compared by that.
    fn purpose(&self, layer: usize) -> Option<&str> {
        let comment = self.steps()?.get(layer)?.comment.as_deref()?;
        Some(comment.split([',', ':']).next().unwrap_or(comment))
    }
}

/// Two layers that are to be compared, counted from the lowest; none on one side where only the other image has one.
pub type Pair = (Option<usize>, Option<usize>);

/// What the documents of two images tell.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Why they differ, as far as the documents tell.
    pub causes: Vec<Cause>,
    /// The layers whose content differs.
    pub pairs: Vec<Pair>,
}

/// Compares the documents of two images.
#[must_use]
pub fn told(was: &Documents<'_>, now: &Documents<'_>) -> Told {
    let (mut causes, pairs) = layers(was, now);
    let base = base(was, now);
    let mut inherited = Vec::new();
    for cause in config(was, now).into_iter().chain(annotations(was, now)) {
        if base.is_some() && is_inherited(&cause, was, now) { &mut inherited } else { &mut causes }
            .push(cause);
    }
    if let Some(mut base) = base {
        base.changes.extend(inherited.iter().map(ToString::to_string));
        causes.push(base);
    }
    causes.extend(Cause::between(Sort::Tool, "", was.tool().as_ref(), now.tool().as_ref()));
    Told { causes, pairs }
}

/// Whether they stand on something else.
#[must_use]
pub fn stand_apart(was: &Documents<'_>, now: &Documents<'_>) -> bool {
    base(was, now).is_some()
}

/// What differs of two images whose files and configs say the same.
#[must_use]
pub fn form(was: &Documents<'_>, now: &Documents<'_>) -> Cause {
    if was.config.history != now.config.history {
        return Cause::new(Sort::Config, "history", Change::Changed);
    }
    let form = |name: &str| Cause::new(Sort::Form, name, Change::Changed);
    if was.manifest.media_type != now.manifest.media_type {
        let text = |image: &Documents<'_>| image.manifest.media_type.as_ref().map(ToString::to_string);
        return Cause { was: text(was), now: text(now), ..form("the manifest") };
    }
    let name =
        if was.manifest.config.digest == now.manifest.config.digest { "the manifest" } else { "the config" };
    form(name).note("it says the same in other words")
}

fn base(was: &Documents<'_>, now: &Documents<'_>) -> Option<Cause> {
    let (old, new) = (was.base_name(), now.base_name());
    if old != new {
        return Cause::between(Sort::Base, "", old.as_ref(), new.as_ref());
    }
    let ids = |image: &Documents<'_>| Some(image.diff_ids()?.get(..image.base_layers()?)?.to_vec());
    let (old_ids, new_ids) = (ids(was)?, ids(now)?);
    // Layers of one content, compressed in another way, are told as that.
    if old_ids == new_ids {
        return None;
    }
    let text = |ids: &[Digest]| {
        let top = ids.last().map(|id| format!(" with {id}")).unwrap_or_default();
        Some(format!("{}{top}", old.as_deref().unwrap_or_default()))
    };
    Cause::between(Sort::Base, "", text(&old_ids).as_ref(), text(&new_ids).as_ref())
}

/// Which layers are to be compared. Those of the bases aren't, nor those that both have.
fn layers(was: &Documents<'_>, now: &Documents<'_>) -> (Vec<Cause>, Vec<Pair>) {
    let own = |image: &Documents<'_>| -> Vec<usize> {
        (image.base_layers().unwrap_or(0)..image.manifest.layers.len()).collect()
    };
    let mut causes = BTreeMap::new();
    let (mut old, mut new) = (own(was), own(now));
    // A base's layers of one content are told if they are compressed in another way.
    let below = was.base_layers().unwrap_or(0).min(now.base_layers().unwrap_or(0));
    let mut same: Vec<(usize, usize)> = (0..below).map(|n| (n, n)).collect();
    let digest = |image: &Documents<'_>, n: usize| image.manifest.layers.get(n).map(|l| l.digest);
    let diff_id = |image: &Documents<'_>, n: usize| image.diff_ids().and_then(|ids| ids.get(n)).copied();
    let is_same = |a: usize, b: usize| {
        digest(was, a) == digest(now, b)
            || diff_id(was, a).is_some_and(|id| diff_id(now, b).is_some_and(|other| id == other))
    };
    take_pairs(&mut old, &mut new, is_same, &mut same);
    same.retain(|(a, b)| is_same(*a, *b) && digest(was, *a) != digest(now, *b));
    for (a, b) in same {
        if let (Some(a), Some(b)) = (was.manifest.layers.get(a), now.manifest.layers.get(b)) {
            compressed(a, b, true, &mut causes);
        }
    }
    let mut pairs = Vec::new();
    let purpose = |a: usize, b: usize| was.purpose(a).is_some() && was.purpose(a) == now.purpose(b);
    take_pairs(&mut old, &mut new, purpose, &mut pairs);
    if old.len() == new.len() {
        take_pairs(&mut old, &mut new, |_, _| true, &mut pairs);
    }
    for (a, b) in &pairs {
        if let (Some(a), Some(b)) = (was.manifest.layers.get(*a), now.manifest.layers.get(*b)) {
            compressed(a, b, false, &mut causes);
        }
    }
    let mut pairs: Vec<Pair> = pairs.into_iter().map(|(a, b)| (Some(a), Some(b))).collect();
    pairs.extend(old.into_iter().map(|a| (Some(a), None)));
    pairs.extend(new.into_iter().map(|b| (None, Some(b))));
    (causes.into_values().collect(), pairs)
}

/// Takes out of `old` and `new` what is a pair, each the first that fits.
fn take_pairs(
    old: &mut Vec<usize>,
    new: &mut Vec<usize>,
    is_pair: impl Fn(usize, usize) -> bool,
    pairs: &mut Vec<(usize, usize)>,
) {
    old.retain(|a| {
        let found = new.iter().position(|b| is_pair(*a, *b));
        pairs.extend(found.map(|at| (*a, new.remove(at))));
        found.is_none()
    });
}

/// Notes how the compression of a layer differs. Of layers whose content differs only another kind of it counts.
fn compressed(a: &Descriptor, b: &Descriptor, same_content: bool, causes: &mut BTreeMap<String, Cause>) {
    let (was, now) = (compression(&a.media_type), compression(&b.media_type));
    let cause = match (was == now, same_content) {
        (false, _) => Cause::between(Sort::Compression, "", Some(&was), Some(&now)),
        (true, true) => {
            let cause = Cause::new(Sort::Compression, "", Change::Changed);
            Some(cause.note(format!("another level or encoder of {was}")))
        }
        (true, false) => None,
    };
    let Some(cause) = cause else { return };
    let cause = causes.entry(cause.to_string()).or_insert(cause);
    if same_content {
        cause.changes.push(format!("layer {} -> {}, same content", a.digest, b.digest));
    }
}

fn compression(media_type: &MediaType) -> String {
    let name = media_type.as_str();
    let kind = name.rsplit_once('+').or(name.rsplit_once(".tar.")).map(|(_, kind)| kind);
    kind.filter(|kind| ["gzip", "zstd"].contains(kind)).unwrap_or("none").to_owned()
}

/// What a config says, field by field.
type Fields = BTreeMap<(Sort, String), String>;

fn fields(config: &ImageConfig) -> Fields {
    let mut found = Fields::new();
    let mut add = |sort: Sort, name: &str, text: &str| {
        if !text.is_empty() {
            found.insert((sort, name.to_owned()), text.to_owned());
        }
    };
    let list = |list: &[String]| if list.is_empty() { String::new() } else { Value::from(list).to_string() };
    let run = &config.config;
    add(Sort::Created, "", config.created.as_deref().unwrap_or(EPOCH));
    add(Sort::User, "", &run.user);
    add(Sort::Entrypoint, "", &list(&run.entrypoint));
    add(Sort::Cmd, "", &list(&run.cmd));
    add(Sort::WorkingDir, "", &run.working_dir);
    for variable in &run.env {
        let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
        add(Sort::Env, key, if value.is_empty() { "\"\"" } else { value });
    }
    for (key, value) in &run.labels {
        add(Sort::Label, key, if value.is_empty() { "\"\"" } else { value });
    }
    add(Sort::Config, "author", config.author.as_deref().unwrap_or_default());
    add(Sort::Config, "os", &config.os);
    add(Sort::Config, "architecture", &config.architecture);
    add(Sort::Config, "variant", config.variant.as_deref().unwrap_or_default());
    add(Sort::Config, "os.version", config.os_version.as_deref().unwrap_or_default());
    add(Sort::Config, "os.features", &list(&config.os_features));
    for (key, value) in config.extra.iter().chain(&run.extra) {
        add(Sort::Config, key, &value.to_string());
    }
    found
}

fn config(was: &Documents<'_>, now: &Documents<'_>) -> Vec<Cause> {
    between(&fields(was.config), &fields(now.config))
}

fn between(old: &Fields, new: &Fields) -> Vec<Cause> {
    let keys: BTreeSet<&(Sort, String)> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter_map(|key| Cause::between(key.0, &key.1, old.get(key), new.get(key))).collect()
}

/// The annotations of manifests; those that name the base are told as that.
fn annotations(was: &Documents<'_>, now: &Documents<'_>) -> Vec<Cause> {
    annotated(&was.manifest.annotations, &now.manifest.annotations)
}

/// What differs in the annotations of two documents, but for those that name the base.
#[must_use]
pub fn annotated(was: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<Cause> {
    let fields = |map: &BTreeMap<String, String>| -> Fields {
        let own = map
            .iter()
            .filter(|(key, _)| ![annotation::BASE_NAME, annotation::BASE_DIGEST].contains(&key.as_str()));
        own.map(|(key, value)| ((Sort::Annotation, key.clone()), value.clone())).collect()
    };
    between(&fields(was), &fields(now))
}

/// Whether both values of a field are their bases': then it differs because these do.
fn is_inherited(cause: &Cause, was: &Documents<'_>, now: &Documents<'_>) -> bool {
    let from = |image: &Documents<'_>, value: &Option<String>| {
        let Some(base) = image.base else { return false };
        let mut fields = fields(&base.config);
        let annotations = base.annotations.iter();
        fields.extend(annotations.map(|(key, value)| ((Sort::Annotation, key.clone()), value.clone())));
        let inherited = fields.get(&(cause.sort, cause.name.clone()));
        inherited == value.as_ref() || is_extended(cause, inherited, value.as_ref(), image.config)
    };
    from(was, &cause.was) && from(now, &cause.now)
}

/// Whether a search path is the base's with the directory of the program at its end.
fn is_extended(cause: &Cause, base: Option<&String>, value: Option<&String>, config: &ImageConfig) -> bool {
    let is_path = cause.sort == Sort::Env && cause.name.eq_ignore_ascii_case("PATH");
    let Some(value) = value.filter(|_| is_path) else { return false };
    let rest = match base {
        Some(base) => value.strip_prefix(base.as_str()).map(|rest| rest.trim_start_matches([':', ';'])),
        None => Some(value.as_str()),
    };
    let program = config.config.entrypoint.last().map(String::as_str).unwrap_or_default();
    rest.is_some_and(|rest| program.rsplit_once(['/', '\\']).is_some_and(|(dir, _)| dir == rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image whose layers were made so: the digest of each, of its tar, who made it and how, and what for.
    type Made<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, &'a str);

    fn image(layers: &[Made<'_>]) -> (ImageManifest, ImageConfig) {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let media_type =
            |text: &str| if text.starts_with('z') { MediaType::LAYER_ZSTD } else { MediaType::LAYER_GZIP };
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config: Descriptor::new(MediaType::CONFIG, digest("config"), 1),
            layers: layers.iter().map(|l| Descriptor::new(media_type(l.0), digest(l.0), 1)).collect(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        let mut config = ImageConfig::default();
        config.rootfs.diff_ids = layers.iter().map(|l| digest(l.1)).collect();
        let step = |(_, _, author, by, comment): &Made<'_>| History {
            author: author.map(str::to_owned),
            created_by: Some((*by).to_owned()),
            comment: Some((*comment).to_owned()),
            ..History::default()
        };
        config.history = layers.iter().map(step).collect();
        (manifest, config)
    }

    const BASE: Made<'_> = ("base", "base", None, "gimg static@1", "data");
    const GIMG: Option<&str> = Some("gimg");
    const BY: &str = "gimg build ko://a";

    fn documents(image: &(ImageManifest, ImageConfig)) -> Documents<'_> {
        Documents { manifest: &image.0, config: &image.1, base: None }
    }

    fn told_of(was: &[Made<'_>], now: &[Made<'_>]) -> (Vec<String>, Vec<Pair>) {
        let (was, now) = (image(was), image(now));
        let told = told(&documents(&was), &documents(&now));
        (told.causes.iter().map(ToString::to_string).collect(), told.pairs)
    }

    #[test]
    fn a_base_is_what_its_maker_s_steps_are_not_of() {
        let layers = |layers: &[Made<'_>]| documents(&image(layers)).base_layers();
        let own = ("app", "app", GIMG, BY, "go build output, at /ko-app/a");
        assert_eq!(layers(&[BASE, own]), Some(1));
        assert_eq!(layers(&[own]), Some(0));
        // A base that gimg made too.
        let below = ("b", "b", GIMG, "gimg build ko://b", "go build output, at /ko-app/b");
        assert_eq!(layers(&[BASE, below, own, own]), Some(2));
        assert_eq!(layers(&[BASE, ("x", "x", None, "COPY x", "")]), None);
        assert_eq!(layers(&[]), None);
    }

    #[test]
    fn layers_are_compared_by_what_they_are_for_and_those_of_bases_not_at_all() {
        let data = ("data", "data", GIMG, BY, "kodata contents, at $KO_DATA_PATH");
        let app = ("app", "app", GIMG, BY, "go build output, at /ko-app/a");
        let other = ("app2", "app2", GIMG, BY, "go build output, at /usr/bin/a");
        assert_eq!(
            told_of(&[BASE, data, app], &[BASE, other]),
            (vec![], vec![(Some(2), Some(1)), (Some(1), None)])
        );
        let newer = ("base2", "base2", None, "gimg static@2", "data");
        assert_eq!(
            told_of(&[BASE, app], &[newer, app]),
            (vec!["base: static@1 -> static@2".to_owned()], vec![])
        );
        // The same content is not compared, wherever it is.
        let packed = ("zapp", "app", GIMG, BY, "go build output, at /ko-app/a");
        let (causes, pairs) =
            told_of(&[BASE, data, app], &[("zbase", "base", None, BASE.3, ""), packed, data]);
        assert_eq!((causes, pairs), (vec!["compression: gzip -> zstd".to_owned()], vec![]));
        // Of images that don't say what they stand on all layers that differ are.
        let foreign = |name| (name, name, None, "COPY", "");
        let (causes, pairs) = told_of(&[foreign("1"), foreign("2")], &[foreign("1"), foreign("3")]);
        assert_eq!((causes, pairs), (vec![], vec![(Some(1), Some(1))]));
    }
}
