//! The tables of the page.

use std::collections::BTreeMap;

use super::map::share;
use super::writer::Html;
use super::{amount, name};
use crate::report::{Attached, InspectedImage, InspectedLayer};
use crate::ui::inspect::{difference, kind};
use crate::ui::table::{short, size};

/// A column of a table.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) is_number: bool,
}

/// A cell of a table.
pub(super) enum Cell<'a> {
    /// Words.
    Text(&'a str),
    /// A name, as it is.
    Code(&'a str),
    /// So many bytes.
    Bytes(u64),
    /// How much more or less: before, and now.
    Change(u64, u64),
    /// A part of a whole, as a bar.
    Share(u64, u64),
}

/// A table whose rows begin with their names. One that can be sorted is, by whoever has the script.
pub(super) fn table<'a>(
    html: &mut Html,
    caption: &str,
    columns: &[Column],
    is_sortable: bool,
    rows: impl Iterator<Item = Vec<Cell<'a>>>,
) {
    let class = if is_sortable { "sortable" } else { "" };
    html.el("table", &[("class", class)], |html| {
        html.line("caption", &[], caption);
        html.el("thead", &[], |html| {
            html.el("tr", &[], |html| {
                for column in columns {
                    let class = match column.title {
                        "Share" => "share",
                        _ if column.is_number => "n",
                        _ => "",
                    };
                    html.line("th", &[("scope", "col"), ("class", class)], column.title);
                }
            });
        });
        html.el("tbody", &[], |html| {
            for row in rows {
                html.el("tr", &[], |html| {
                    row.iter().enumerate().for_each(|(number, cell)| draw(html, cell, number == 0));
                });
            }
        });
    });
    html.own("\n");
}

fn draw(html: &mut Html, cell: &Cell<'_>, is_first: bool) {
    let own: &[(&'static str, &str)] = &[("scope", "row")];
    let (element, scope) = if is_first { ("th", own) } else { ("td", &own[..0]) };
    match cell {
        Cell::Text(text) => {
            html.line(element, scope, text);
        }
        Cell::Code(text) => {
            html.el(element, scope, |html| {
                html.line("code", &[], text);
            });
        }
        Cell::Bytes(bytes) => number(html, &bytes.to_string(), &size(*bytes)),
        Cell::Change(was, now) => {
            let sign = if now < was { "-" } else { "" };
            number(html, &format!("{sign}{}", was.abs_diff(*now)), &difference(*was, *now));
        }
        Cell::Share(part, all) => bar(html, *part, *all),
    }
}

fn number(html: &mut Html, exact: &str, shown: &str) {
    html.line("td", &[("class", "n"), ("data-n", exact), ("title", &format!("{exact} bytes"))], shown);
}

fn bar(html: &mut Html, part: u64, all: u64) {
    html.el("td", &[("class", "share")], |html| {
        let width = share(part, all).replace(' ', "");
        html.el("svg", &[("class", "bar"), ("aria-hidden", "true"), ("focusable", "false")], |html| {
            html.el("rect", &[("width", &width), ("height", "100%")], |_| {});
        });
    });
}

/// A number that stands out.
pub(super) fn tile(html: &mut Html, name: &str, value: &str) {
    html.el("div", &[], |html| {
        html.line("dt", &[], name).line("dd", &[], value);
    });
}

/// Names and values below each other.
#[derive(Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(super) fn of(&mut self, name: &str, value: Option<impl Into<String>>) {
        let value = value.map(Into::into).filter(|value| !value.is_empty());
        self.0.extend(value.map(|value| (name.to_owned(), value)));
    }

    pub(super) fn map(&mut self, name: &str, map: &BTreeMap<String, String>) {
        self.0.extend(map.iter().map(|(key, value)| (format!("{name} {key}"), value.clone())));
    }

    pub(super) fn attached(&mut self, attached: Option<&[Attached]>) {
        for artifact in attached.unwrap_or_default() {
            self.0.push((format!("Attached: {}", kind(artifact)), artifact.digest.to_string()));
        }
    }

    pub(super) fn draw(&self, html: &mut Html, caption: &str) {
        html.el("table", &[("class", "pairs")], |html| {
            html.line("caption", &[], caption);
            html.el("tbody", &[], |html| {
                for (name, value) in &self.0 {
                    html.el("tr", &[], |html| {
                        html.line("th", &[("scope", "row")], name);
                        html.el("td", &[], |html| {
                            html.line("code", &[], value);
                        });
                    });
                }
            });
        });
        html.own("\n");
    }
}

pub(super) fn platforms(html: &mut Html, images: &[InspectedImage]) {
    let most = images.iter().map(|image| image.size).max().unwrap_or_default();
    let columns = [name("Platform"), name("Digest"), amount("Size"), name("Share")];
    let digests: Vec<String> = images.iter().map(|image| short(&image.digest.to_string(), 19)).collect();
    let rows = images.iter().zip(&digests).map(|(image, digest)| {
        vec![
            Cell::Text(&image.platform),
            Cell::Code(digest),
            Cell::Bytes(image.size),
            Cell::Share(image.size, most),
        ]
    });
    table(html, "Bars are beside the largest image", &columns, true, rows);
}

pub(super) fn layers(html: &mut Html, layers: &[InspectedLayer], all: u64) {
    html.el("table", &[], |html| {
        html.line("caption", &[], "From the lowest up; bars are shares of the image");
        html.el("thead", &[], |html| {
            html.el("tr", &[], |html| {
                for (title, class) in [("Layer", ""), ("Size", "n"), ("Share", "share")] {
                    html.line("th", &[("scope", "col"), ("class", class)], title);
                }
            });
        });
        html.el("tbody", &[], |html| {
            for layer in layers {
                html.el("tr", &[], |html| {
                    html.el("th", &[("scope", "row")], |html| about(html, layer));
                    number(html, &layer.size.to_string(), &size(layer.size));
                    bar(html, layer.size, all);
                });
            }
        });
    });
    html.own("\n");
}

/// What a layer is: what made it, and below that what it is called.
fn about(html: &mut Html, layer: &InspectedLayer) {
    let made = layer.created_by.as_deref().or(layer.comment.as_deref()).unwrap_or("not said what made it");
    html.text(made);
    if let Some(is_base) = layer.base {
        html.own(" ").line("span", &[("class", "tag")], if is_base { "base" } else { "image" });
    }
    if layer.created_by.is_some()
        && let Some(comment) = &layer.comment
    {
        html.own("<br>").line("span", &[("class", "muted")], comment);
    }
    html.own("<br>").line(
        "code",
        &[("class", "muted"), ("title", layer.media_type.as_str())],
        &layer.digest.to_string(),
    );
}

pub(super) fn config(html: &mut Html, image: &InspectedImage) {
    let config = &image.config;
    let list = |list: &[String]| (!list.is_empty()).then(|| serde_json::to_string(list).unwrap_or_default());
    let mut pairs = Pairs::default();
    pairs.of("Digest", Some(image.digest.to_string()));
    pairs.of("Type", Some(image.media_type.as_str()));
    pairs.of("Base", image.base.as_deref());
    pairs.of("Created", config.created.as_deref());
    pairs.of("Author", config.author.as_deref());
    pairs.of("User", Some(config.user.as_str()));
    pairs.of("Working directory", Some(config.working_dir.as_str()));
    pairs.of("Entrypoint", list(&config.entrypoint));
    pairs.of("Cmd", list(&config.cmd));
    for variable in &config.env {
        let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
        pairs.0.push((format!("Env {key}"), value.to_owned()));
    }
    pairs.map("Label", &config.labels);
    for (key, value) in &config.fields {
        pairs.of(key, Some(value.to_string()));
    }
    pairs.map("Annotation", &image.annotations);
    pairs.attached(image.attached.as_deref());
    pairs.draw(html, "What it says of how it is run, and of itself");
}

/// What grew or shrank: name, before, now.
pub(super) fn growth(html: &mut Html, rows: impl Iterator<Item = (String, u64, u64)>) {
    let columns = [name("Package or part"), amount("Was"), amount("Now"), amount("Difference")];
    let rows: Vec<(String, u64, u64)> = rows.collect();
    let cells = rows.iter().map(|(name, was, now)| {
        vec![Cell::Code(name), Cell::Bytes(*was), Cell::Bytes(*now), Cell::Change(*was, *now)]
    });
    table(html, "What is of one size is left out", &columns, true, cells);
}
