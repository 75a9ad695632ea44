//! What the page says of a program.

use std::cmp::Reverse;

use super::map::{self, module_name};
use super::tables::{Cell, Pairs, table, tile};
use super::writer::Html;
use super::{amount, name};
use crate::report::{InspectedModule, InspectedProgram};
use crate::ui::table::size;

/// How many packages are shown; the largest programs have a tenth of it.
const MAX_PACKAGES: usize = 20_000;

/// All of it; `id` is the page's own, `heading` the element below that which names it.
pub(super) fn of(html: &mut Html, program: &InspectedProgram, id: &str, heading: &'static str) {
    html.el("dl", &[("class", "tiles")], |html| {
        tile(html, "Size", &size(program.size));
        tile(html, "Go", &program.go);
        tile(html, "Made for", &program.format);
        tile(html, "Modules", &program.modules.len().to_string());
        tile(html, "Packages", &program.packages.len().to_string());
    });
    html.line(heading, &[], "What takes the room");
    map::draw(html, program);
    parts(html, program);
    if !program.packages.is_empty() {
        html.el("details", &[("id", id)], |html| {
            html.line("summary", &[], &format!("All {} packages", program.packages.len()));
            packages(html, program);
        });
    }
    if !program.modules.is_empty() {
        html.line(heading, &[], "Modules");
        modules(html, program);
    }
    html.line(heading, &[], "What Go recorded");
    facts(html, program);
}

fn facts(html: &mut Html, program: &InspectedProgram) {
    let mut pairs = Pairs::default();
    let setting = |key: &str| program.settings.get(key).map(String::as_str).unwrap_or_default();
    pairs.of("Main package", Some(program.package.as_str()));
    pairs.of("Module", program.module.as_ref().map(|module| format!("{} {}", module.path, module.version)));
    pairs.of("Digest", Some(program.digest.to_string()));
    let changed = if setting("vcs.modified") == "true" { ", with changes" } else { "" };
    let revision = Some(setting("vcs.revision")).filter(|revision| !revision.is_empty());
    pairs.of("Revision", revision.map(|revision| format!("{} {revision}{changed}", setting("vcs"))));
    pairs.of("Revision of", Some(setting("vcs.time")));
    for (key, value) in program.settings.iter().filter(|(key, _)| !key.starts_with("vcs")) {
        pairs.of(&format!("Setting {key}"), Some(value.as_str()));
    }
    pairs.draw(html, "Go writes it into each program");
}

/// The numbers of the map: whose code, and each section. Those of modules and packages are below.
fn parts(html: &mut Html, program: &InspectedProgram) {
    let own = program.module.as_ref().map(|module| module.path.as_str());
    let mut code = [
        ("Standard library", 0),
        (own.unwrap_or("Its own module"), 0),
        ("Other modules", 0),
        ("No module", 0),
    ];
    for package in &program.packages {
        let place = match package.module.as_deref() {
            Some("std") => 0,
            None => 3,
            module if module == own => 1,
            _ => 2,
        };
        code[place].1 += package.size;
    }
    let code = code.into_iter().filter(|(_, size)| *size > 0).map(|(name, size)| (name, "code", size));
    let sections = program.sections.iter().map(|part| (part.name.as_str(), part.kind.label(), part.size));
    let mut rows: Vec<(&str, &str, u64)> = code.chain(sections).collect();
    rows.sort_by_key(|(name, _, size)| (Reverse(*size), *name));
    let columns = [name("Part"), name("What it is"), amount("Size"), name("Share")];
    let cells = rows.iter().map(|(name, what, size)| {
        vec![Cell::Text(name), Cell::Text(what), Cell::Bytes(*size), Cell::Share(*size, program.size)]
    });
    table(html, "All of the file; bars are shares of it", &columns, true, cells);
}

fn packages(html: &mut Html, program: &InspectedProgram) {
    let columns = [name("Package"), name("Module"), amount("Code"), name("Share")];
    let most = program.packages.first().map_or(0, |package| package.size);
    let cells = program.packages.iter().take(MAX_PACKAGES).map(|package| {
        let name = if package.package.is_empty() { "no package" } else { &package.package };
        let module = module_name(package.module.as_deref());
        vec![Cell::Code(name), Cell::Text(module), Cell::Bytes(package.size), Cell::Share(package.size, most)]
    });
    table(html, "Bars are beside the largest package", &columns, true, cells);
}

fn modules(html: &mut Html, program: &InspectedProgram) {
    let with_licence = program.modules.iter().any(|module| module.licence.is_some());
    let mut columns = vec![name("Module"), name("Version")];
    columns.extend(with_licence.then(|| name("Licence")));
    columns.push(amount("Code"));
    let mut modules: Vec<&InspectedModule> = program.modules.iter().collect();
    modules.sort_by(|a, b| (Reverse(a.size), &a.path).cmp(&(Reverse(b.size), &b.path)));
    let named: Vec<(String, String)> = modules.iter().map(|module| named(module)).collect();
    let cells = modules.iter().zip(&named).map(|(module, (path, version))| {
        let mut cells = vec![Cell::Code(path), Cell::Code(version)];
        cells.extend(with_licence.then(|| Cell::Text(module.licence.as_deref().unwrap_or("not known"))));
        cells.push(Cell::Bytes(module.size));
        cells
    });
    table(html, "With what of their code is in the program", &columns, true, cells);
}

/// Path and version, and of what stands in for it.
fn named(module: &InspectedModule) -> (String, String) {
    match &module.replace {
        None => (module.path.clone(), module.version.clone()),
        Some(other) => (format!("{} => {}", module.path, other.path), other.version.clone()),
    }
}
