//! What `gimg inspect` says.

use std::cmp::Reverse;

use crate::error::{Result, printable};
use crate::report::{
    Against, Attached, AttachedKind, Growth, Inspected, InspectedConfig, InspectedImage, InspectedModule,
    InspectedProgram,
};
use crate::ui::table::{row, short, shortened, size, table};
use crate::ui::{Format, Voice, json, print, why};

/// How many packages or modules are shown: the largest.
const MAX_ROWS: usize = 10;
/// How much of a digest is shown: its algorithm, and twelve digits.
const MAX_DIGEST: usize = 19;
/// How much of a text is shown, in characters.
const MAX_TEXT: usize = 200;

impl Voice {
    /// Prints what is in an image or a program.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn inspected(&self, inspected: &Inspected) -> Result<()> {
        match self.format {
            Format::Json => json(inspected),
            Format::Text => print(text(inspected)),
        }
    }
}

fn text(inspected: &Inspected) -> String {
    let mut text = format!("{}\n", printable(inspected.name.clone()));
    let mut facts = Facts::default();
    facts.add("digest", inspected.digest.to_string());
    facts.of("type", inspected.media_type.as_ref().map(ToString::to_string));
    facts.pairs("annotation", &inspected.annotations);
    facts.attached(inspected.attached.as_deref());
    text.push_str(&facts.text());
    if inspected.platforms.len() > 1 {
        text.push_str(&platforms(inspected));
    }
    let usual = inspected.platforms.get(inspected.usual);
    usual.iter().for_each(|image| text.push_str(&of_image(image)));
    if let Some(program) = &inspected.program {
        text.push_str(&of_program(program));
    }
    let platform = usual.map(|image| image.platform.as_str());
    inspected.against.iter().for_each(|against| text.push_str(&of_difference(against, platform)));
    text
}

/// Names and values below each other.
#[derive(Default)]
struct Facts(Vec<Vec<String>>);

impl Facts {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        self.0.push(row([name, &shortened(value.as_ref(), MAX_TEXT)]));
    }

    fn of(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        value.into_iter().filter(|v| !v.as_ref().is_empty()).for_each(|value| self.add(name, value));
    }

    fn pairs<'a>(&mut self, name: &str, pairs: impl IntoIterator<Item = (&'a String, &'a String)>) {
        pairs.into_iter().for_each(|(key, value)| self.add(name, format!("{key}={value}")));
    }

    fn attached(&mut self, attached: Option<&[Attached]>) {
        for artifact in attached.unwrap_or_default() {
            let kind = kind(artifact);
            self.add("attached", format!("{kind} {}", short(&artifact.digest.to_string(), MAX_DIGEST)));
        }
    }

    /// A name that stands several times in a row is said once.
    fn text(mut self) -> String {
        for number in (1..self.0.len()).rev() {
            if self.0[number][0] == self.0[number - 1][0] {
                self.0[number][0].clear();
            }
        }
        table(&self.0, &[], "  ")
    }
}

/// What something is that is attached, in words.
pub(super) fn kind(artifact: &Attached) -> String {
    match artifact.kind {
        AttachedKind::Sbom => "SBOM".to_owned(),
        AttachedKind::Provenance => "provenance".to_owned(),
        AttachedKind::Signature => "signature".to_owned(),
        AttachedKind::Inputs => "inputs of the build".to_owned(),
        AttachedKind::Other => {
            let said = artifact.predicate_type.clone();
            said.or(artifact.artifact_type.as_ref().map(ToString::to_string))
                .unwrap_or_else(|| "artifact".to_owned())
        }
    }
}

fn platforms(inspected: &Inspected) -> String {
    let mut rows = vec![row(["PLATFORM", "DIGEST", "SIZE", "LAYERS"])];
    rows.extend(inspected.platforms.iter().map(|image| {
        let digest = short(&image.digest.to_string(), MAX_DIGEST);
        row([&printable(image.platform.clone()), &digest, &size(image.size), &image.layers.len().to_string()])
    }));
    format!("\n{}", table(&rows, &[2, 3], "  "))
}

fn of_image(image: &InspectedImage) -> String {
    let mut facts = Facts::default();
    facts.add("digest", image.digest.to_string());
    facts.add("size", size(image.size));
    facts.of("base", image.base.as_ref());
    facts.pairs("annotation", &image.annotations);
    facts.attached(image.attached.as_deref());
    configured(&mut facts, &image.config);
    let mut text = format!("\n{}\n{}", printable(image.platform.clone()), facts.text());
    let mut rows = vec![row(["LAYER", "SIZE", "OF", "MADE BY"])];
    rows.extend(image.layers.iter().map(|layer| {
        let of = match layer.base {
            Some(true) => "base",
            Some(false) => "image",
            None => "-",
        };
        let by = layer.created_by.as_deref().or(layer.comment.as_deref()).unwrap_or("-");
        let digest = short(&layer.digest.to_string(), MAX_DIGEST);
        row([&digest, &size(layer.size), of, &shortened(by, 80)])
    }));
    text.push_str(&format!("\n{}", table(&rows, &[1], "  ")));
    let programs = image.programs.as_deref().unwrap_or_default();
    for program in programs {
        text.push_str(&format!(
            "\n  {}\n{}",
            printable(program.path.clone()),
            indented(&of_program(program))
        ));
    }
    if programs.is_empty() {
        text.push_str(&format!("\n  {}\n", no_program(image)));
    }
    text
}

/// What is said of an image in which no program was found.
pub(super) fn no_program(image: &InspectedImage) -> &'static str {
    match image.layers.iter().any(|layer| layer.base == Some(true)) {
        true => "no Go program in the layers over its base",
        false => "no Go program",
    }
}

fn configured(facts: &mut Facts, config: &InspectedConfig) {
    let list = |list: &[String]| (!list.is_empty()).then(|| serde_json::to_string(list).unwrap_or_default());
    facts.of("created", config.created.as_ref());
    facts.of("author", config.author.as_ref());
    facts.of("user", Some(&config.user));
    facts.of("working dir", Some(&config.working_dir));
    facts.of("entrypoint", list(&config.entrypoint));
    facts.of("cmd", list(&config.cmd));
    config.env.iter().for_each(|variable| facts.add("env", variable));
    facts.pairs("label", &config.labels);
    config.fields.iter().for_each(|(key, value)| facts.add(key, value.to_string()));
}

fn of_program(program: &InspectedProgram) -> String {
    let mut facts = Facts::default();
    facts.add("size", format!("{}, {}", size(program.size), program.format));
    facts.add("go", &program.go);
    facts.of("package", Some(&program.package));
    facts.of("module", program.module.as_ref().map(module));
    let setting = |key: &str| program.settings.get(key).map(String::as_str).unwrap_or_default();
    if !setting("vcs.revision").is_empty() {
        let changed = if setting("vcs.modified") == "true" { ", with changes" } else { "" };
        facts.add("revision", format!("{} {}{changed}", setting("vcs"), setting("vcs.revision")));
    }
    let settings =
        program.settings.iter().filter(|(key, value)| !key.starts_with("vcs") && !value.is_empty());
    let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={value}")).collect();
    facts.of("settings", Some(settings.join(" ")));
    let mut text = facts.text();
    if !program.modules.is_empty() {
        text.push_str(&format!("\n{}", modules(program)));
    }
    text.push_str(&format!("\n{}", sizes(program)));
    text
}

fn indented(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    text.lines().map(line).collect()
}

/// A module, and what stands in for it.
fn module(module: &InspectedModule) -> String {
    let named = |m: &InspectedModule| format!("{} {}", m.path, m.version).trim_end().to_owned();
    match &module.replace {
        None => named(module),
        Some(other) => format!("{} => {}", named(module), named(other)),
    }
}

fn modules(program: &InspectedProgram) -> String {
    let mut modules: Vec<&InspectedModule> = program.modules.iter().collect();
    modules.sort_by_key(|module| Reverse(module.size));
    let with_licence = modules.iter().any(|module| module.licence.is_some());
    let mut header = row(["MODULE", "VERSION", "CODE"]);
    header.extend(with_licence.then(|| "LICENCE".to_owned()));
    let mut rows = vec![header];
    rows.extend(modules.iter().take(MAX_ROWS).map(|module| {
        let path = match &module.replace {
            None => module.path.clone(),
            Some(other) => format!("{} => {}", module.path, other.path),
        };
        let version = module.replace.as_ref().map_or(&module.version, |other| &other.version);
        let mut cells = row([&shortened(&path, 80), &shortened(version, 50), &size(module.size)]);
        cells.extend(with_licence.then(|| shortened(module.licence.as_deref().unwrap_or("-"), 40)));
        cells
    }));
    table(&rows, &[2], "  ") + &more(modules.len(), "modules")
}

fn sizes(program: &InspectedProgram) -> String {
    let share = |part: u64| {
        // For people: the rounding of large numbers doesn't show.
        #[expect(clippy::cast_precision_loss, reason = "a percentage of one digit")]
        let percent = part as f64 * 100.0 / program.size.max(1) as f64;
        format!("{percent:.1} %")
    };
    let mut rows = vec![row(["CODE OF", "SIZE", "SHARE"])];
    rows.extend(program.packages.iter().take(MAX_ROWS).map(|package| {
        let name = if package.package.is_empty() { "no package" } else { &package.package };
        row([&shortened(name, 80), &size(package.size), &share(package.size)])
    }));
    let rest = program.packages.len().saturating_sub(MAX_ROWS);
    if rest > 0 {
        let bytes = program.packages.iter().skip(MAX_ROWS).map(|package| package.size).sum();
        rows.push(row([&format!("{rest} more packages"), &size(bytes), &share(bytes)]));
    }
    for (kind, bytes) in program.kinds() {
        rows.push(row([kind.label(), &size(bytes), &share(bytes)]));
    }
    rows[0][0] = if program.packages.is_empty() { "PART" } else { "PACKAGE OR PART" }.to_owned();
    table(&rows, &[1, 2], "  ")
}

fn more(all: usize, what: &str) -> String {
    match all.saturating_sub(MAX_ROWS) {
        0 => String::new(),
        more => format!("  … and {more} more {what} (all with --format json)\n"),
    }
}

/// What differs, and what grew of the programs for `platform`.
fn of_difference(against: &Against, platform: Option<&str>) -> String {
    let other = printable(against.why.subjects[0].name.clone());
    if against.why.same {
        return format!("\nagainst {other}: same digest\n");
    }
    let mut text = format!("\nagainst {other}\n{}", indented(&why::text(&against.why.causes)));
    let grown = against.growth.iter().filter(|growth| growth.platform.as_deref() == platform);
    grown.for_each(|growth| text.push_str(&of_growth(growth)));
    text
}

fn of_growth(growth: &Growth) -> String {
    let platform = growth.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
    let title = format!("{}{platform}", growth.path);
    let mut rows = vec![row(["PACKAGE OR PART", "WAS", "NOW", "DIFFERENCE"])];
    let mut add = |name: &str, was: u64, now: u64| {
        rows.push(row([&shortened(name, 80), &size(was), &size(now), &difference(was, now)]));
    };
    growth.packages.iter().take(MAX_ROWS).for_each(|of| add(&of.name, of.was, of.now));
    growth.parts.iter().for_each(|of| add(&of.name, of.was, of.now));
    add("all of it", growth.was, growth.now);
    let more = more(growth.packages.len(), "packages");
    let table = table(&rows, &[1, 2, 3], "  ") + &more;
    format!("\n  {}\n{}", printable(title), indented(&table))
}

/// How much more or less, for people.
pub(super) fn difference(was: u64, now: u64) -> String {
    let sign = if now < was { '-' } else { '+' };
    format!("{sign}{}", size(was.abs_diff(now)))
}
