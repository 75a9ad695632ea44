//! The map of a program: an area for each package, in that of its module, and for each section, in that of its sort.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::palette;
use super::treemap::{Area, areas};
use super::writer::Html;
use crate::report::{InspectedProgram, SectionKind};
use crate::ui::table::size;

/// How large the map is taken to be, in pixels, for what may be written where; wide, and on a narrow screen.
const WIDE: Area = Area { x: 0.0, y: 0.0, width: 1100.0, height: 600.0 };
const NARROW: Area = Area { x: 0.0, y: 0.0, width: 360.0, height: 640.0 };
/// The strip with a group's name.
const TITLE: f64 = 19.0;
/// An area that is smaller than this in either direction has no words.
const MIN_WORDS: (f64, f64) = (34.0, 15.0);
/// About the width of a letter.
const LETTER: f64 = 6.6;
/// How many groups there are, and areas in each: what is smaller is one area.
const MAX_GROUPS: usize = 30;
const MAX_AREAS: usize = 80;

/// Several areas of one colour.
struct Group {
    name: String,
    /// The class that gives the colour.
    fill: String,
    size: u64,
    parts: Vec<(String, u64)>,
}

/// Draws it twice: the style sheet shows one.
pub(super) fn draw(html: &mut Html, program: &InspectedProgram) {
    let groups = groups(program);
    for (class, whole) in [("map wide", WIDE), ("map narrow", NARROW)] {
        let about = format!(
            "Map of the {} of {}: the larger an area, the more bytes. The tables below have the same numbers.",
            size(program.size),
            program.path
        );
        let height = format!("{:.0}", whole.height);
        let attributes = [
            ("class", class),
            ("role", "img"),
            ("aria-label", &about),
            ("width", "100%"),
            ("height", &height),
        ];
        html.el("svg", &attributes, |html| {
            let sizes: Vec<u64> = groups.iter().map(|group| group.size).collect();
            for (group, area) in groups.iter().zip(areas(&sizes, whole)) {
                draw_group(html, group, area, whole, program.size);
            }
        });
    }
}

fn draw_group(html: &mut Html, group: &Group, area: Area, whole: Area, all: u64) {
    let area = area.inset(1.5, 1.5);
    // The only one of its group says so: its area is the group's.
    let about = match group.parts.as_slice() {
        [(part, _)] if *part != group.name => format!("{}, {part}", group.name),
        _ => group.name.clone(),
    };
    let about = format!("{about}: {}, {}", size(group.size), share(group.size, all));
    let is_single = group.parts.len() == 1;
    let has_title = !is_single && area.height > 2.0 * TITLE && area.width > MIN_WORDS.0;
    let words = match (is_single, has_title) {
        (true, _) => label(&group.name, group.size, area),
        (_, true) => title(&group.name, group.size, area),
        _ => Vec::new(),
    };
    draw_area(html, &format!("group {}", group.fill), &about, area, whole, words);
    if is_single {
        return;
    }
    let inside = if has_title { area.inset(2.0, TITLE) } else { area.inset(1.0, 1.0) };
    let sizes: Vec<u64> = group.parts.iter().map(|(_, size)| *size).collect();
    for ((name, bytes), area) in group.parts.iter().zip(areas(&sizes, inside)) {
        let about = format!("{name}: {}, {}", size(*bytes), share(*bytes, all));
        let short = match name.strip_prefix(&group.name).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => rest,
            None => name,
        };
        draw_area(html, &group.fill, &about, area, whole, label(short, *bytes, area));
    }
}

/// An area with its words; each is a picture of its own, so that no word leaves it.
fn draw_area(html: &mut Html, fill: &str, about: &str, area: Area, whole: Area, words: Vec<String>) {
    let percent = |part: f64, of: f64| format!("{:.3}%", part * 100.0 / of);
    let (x, y) = (percent(area.x, whole.width), percent(area.y, whole.height));
    let (width, height) = (percent(area.width, whole.width), percent(area.height, whole.height));
    html.el("svg", &[("x", &x), ("y", &y), ("width", &width), ("height", &height)], |html| {
        html.line("title", &[], about);
        html.el("rect", &[("class", fill), ("width", "100%"), ("height", "100%")], |_| {});
        for (words, y) in words.iter().zip(["14", "28"]) {
            html.line("text", &[("x", "5"), ("y", y)], words);
        }
    });
}

/// What is written in the strip over the areas of a group: one line, with its size if there is room.
fn title(name: &str, bytes: u64, area: Area) -> Vec<String> {
    let strip = Area { height: TITLE, ..area };
    let both = format!("{name}, {}", size(bytes));
    let words = label(&both, bytes, strip);
    if words.first() == Some(&both) { words } else { label(name, bytes, strip) }
}

/// What is written in an area, as far as there is room: the name, and below it the size.
fn label(name: &str, bytes: u64, area: Area) -> Vec<String> {
    if area.width < MIN_WORDS.0 || area.height < MIN_WORDS.1 {
        return Vec::new();
    }
    let room = area.width - 8.0;
    let mut most = 1_u16;
    while f64::from(most + 1) * LETTER <= room && most < 200 {
        most += 1;
    }
    let most = usize::from(most);
    let has = |text: &str| text.chars().count() <= most;
    // The end of a path says more than its beginning.
    let mut shown = name;
    while !has(shown) {
        match shown.split_once('/') {
            Some((_, rest)) if !is_version(rest) => shown = rest,
            _ => break,
        }
    }
    let shown = match has(shown) {
        true => shown.to_owned(),
        false if most < 4 => return Vec::new(),
        false => shown.chars().take(most - 1).chain(['…']).collect(),
    };
    let amount = size(bytes);
    let has_size = area.height >= 2.0 * MIN_WORDS.1 + 2.0 && has(&amount);
    [Some(shown), has_size.then_some(amount)].into_iter().flatten().collect()
}

/// Whether it is the end of a module's path that says nothing alone: `v2`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// How much of a whole it is.
pub(super) fn share(part: u64, all: u64) -> String {
    let percent = super::treemap::number(part) * 100.0 / super::treemap::number(all.max(1));
    format!("{percent:.1} %")
}

/// What a module is called.
pub(super) fn module_name(module: Option<&str>) -> &str {
    match module {
        Some("std") => "standard library",
        Some(path) => path,
        None => "no module",
    }
}

/// The modules and sorts of data of a program, the largest first.
fn groups(program: &InspectedProgram) -> Vec<Group> {
    let mut modules: BTreeMap<Option<&str>, Vec<(String, u64)>> = BTreeMap::new();
    for package in &program.packages {
        let name = if package.package.is_empty() { "no package" } else { &package.package };
        modules.entry(package.module.as_deref()).or_default().push((name.to_owned(), package.size));
    }
    let mut kinds: BTreeMap<SectionKind, Vec<(String, u64)>> = BTreeMap::new();
    for section in &program.sections {
        kinds.entry(section.kind).or_default().push((section.name.clone(), section.size));
    }
    let own = program.module.as_ref().map(|module| module.path.as_str());
    let mut groups: Vec<Group> = modules
        .into_iter()
        .map(|(module, parts)| {
            let fill = match module {
                Some("std") => "std",
                None => "none",
                _ if module == own => "own",
                _ => "",
            };
            group(module_name(module), fill, parts, "packages")
        })
        .collect();
    groups.extend(kinds.into_iter().map(|(kind, parts)| group(kind.label(), fill(kind), parts, "sections")));
    let order = |groups: &mut Vec<Group>| {
        groups.sort_by(|a, b| (Reverse(a.size), &a.name).cmp(&(Reverse(b.size), &b.name)));
    };
    order(&mut groups);
    if groups.len() > MAX_GROUPS {
        let small = groups.split_off(MAX_GROUPS - 1);
        let parts: Vec<(String, u64)> = small.iter().map(|group| (group.name.clone(), group.size)).collect();
        let more = format!("{} smaller parts", parts.len());
        groups.push(group(&more, "none", parts, "parts"));
        order(&mut groups);
    }
    let turns = (0..palette::MODULES).cycle();
    let other = groups.iter_mut().filter(|group| group.fill.is_empty());
    other.zip(turns).for_each(|(group, turn)| group.fill = format!("m{turn}"));
    groups
}

fn fill(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Code => "code",
        SectionKind::Data => "data",
        SectionKind::Functions => "functions",
        SectionKind::Symbols => "symbols",
        SectionKind::Debug => "debug",
        SectionKind::Other => "other",
    }
}

fn group(name: &str, fill: &str, mut parts: Vec<(String, u64)>, what: &str) -> Group {
    let order = |parts: &mut Vec<(String, u64)>| {
        parts.sort_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    };
    order(&mut parts);
    if parts.len() > MAX_AREAS {
        let small = parts.split_off(MAX_AREAS - 1);
        parts.push((format!("{} smaller {what}", small.len()), small.iter().map(|part| part.1).sum()));
        order(&mut parts);
    }
    let size = parts.iter().map(|part| part.1).sum();
    Group { name: name.to_owned(), fill: fill.to_owned(), size, parts }
}
