//! The page of `gimg inspect --html`: one file that needs nothing else, asks for nothing, and says the same for the same.
//!
//! Images are anybody's: whatever they say is text (`writer.rs`), and the browser is told to run and fetch nothing but the
//! style sheet and the script that are in the page.

mod map;
mod palette;
mod program;
mod tables;
mod treemap;
mod writer;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::explain::Cause;
use crate::oci::Digest;
use crate::report::{Against, Inspected, InspectedImage};
use crate::ui::table::size;
use tables::{Column, Pairs};
use writer::Html;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page about an image or a program.
#[must_use]
pub fn page(inspected: &Inspected) -> String {
    let style = palette::css() + STYLE;
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Digest::of(text.as_bytes()).bytes()));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(&style),
        hash(SCRIPT)
    );
    let mut html = Html::default();
    html.own("<!doctype html>\n");
    html.el("html", &[("lang", "en"), ("dir", "ltr")], |html| {
        html.el("head", &[], |html| {
            html.el("meta", &[("charset", "utf-8")], |_| {});
            html.el("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)], |_| {});
            html.el(
                "meta",
                &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")],
                |_| {},
            );
            html.el("meta", &[("name", "color-scheme"), ("content", "light dark")], |_| {});
            html.el("meta", &[("name", "referrer"), ("content", "no-referrer")], |_| {});
            html.line("title", &[], &format!("{}: what is in it", inspected.name));
            html.own("<style>").own(&style).own("</style>");
        });
        html.own("\n");
        html.el("body", &[], |html| body(html, inspected));
    });
    html.own("\n");
    html.finish()
}

fn body(html: &mut Html, inspected: &Inspected) {
    html.line("a", &[("class", "skip"), ("href", "#main")], "Skip to the content");
    html.el("header", &[], |html| {
        html.line("p", &[("class", "muted")], "gimg inspect");
        html.line("h1", &[], &inspected.name);
        html.el("p", &[], |html| {
            html.line("code", &[], &inspected.digest.to_string());
        });
        navigation(html, inspected);
    });
    html.own("\n");
    html.el("main", &[("id", "main")], |html| {
        if inspected.media_type.is_some() {
            overview(html, inspected);
        }
        for (number, image) in inspected.platforms.iter().enumerate() {
            of_image(html, image, number);
        }
        if let Some(program) = &inspected.program {
            html.el("section", &[("id", "program")], |html| {
                html.line("h2", &[], "Program");
                program::of(html, program, "of-file", "h3");
            });
        }
        if let Some(against) = &inspected.against {
            of_difference(html, against);
        }
    });
    html.own("\n");
    html.el("footer", &[], |html| {
        html.line(
            "p",
            &[],
            "Made by gimg inspect. 1 KiB is 1024 bytes. Sizes of layers are those of the compressed bytes.",
        );
    });
    html.own("<script>").own(SCRIPT).own("</script>");
}

fn navigation(html: &mut Html, inspected: &Inspected) {
    let mut links: Vec<(String, &str)> = Vec::new();
    links.extend(inspected.media_type.is_some().then(|| ("#overview".to_owned(), "Overview")));
    let images = inspected.platforms.iter().enumerate();
    links.extend(images.map(|(number, image)| (format!("#image-{number}"), image.platform.as_str())));
    links.extend(inspected.program.is_some().then(|| ("#program".to_owned(), "Program")));
    links.extend(inspected.against.is_some().then(|| ("#against".to_owned(), "Differences")));
    html.el("nav", &[("aria-label", "Parts of this page")], |html| {
        html.el("ul", &[], |html| {
            for (to, text) in &links {
                html.el("li", &[], |html| {
                    html.line("a", &[("href", to)], text);
                });
            }
        });
    });
}

fn overview(html: &mut Html, inspected: &Inspected) {
    html.el("section", &[("id", "overview"), ("aria-labelledby", "overview-title")], |html| {
        html.line("h2", &[("id", "overview-title")], "Overview");
        let mut pairs = Pairs::default();
        pairs.of("Type", inspected.media_type.as_ref().map(ToString::to_string));
        pairs.map("Annotation", &inspected.annotations);
        pairs.attached(inspected.attached.as_deref());
        pairs.draw(html, "The image");
        if inspected.platforms.len() > 1 {
            html.line("h3", &[], "Platforms");
            tables::platforms(html, &inspected.platforms);
        }
    });
    html.own("\n");
}

fn of_image(html: &mut Html, image: &InspectedImage, number: usize) {
    let (id, title) = (format!("image-{number}"), format!("image-{number}-title"));
    html.el("section", &[("id", &id), ("aria-labelledby", &title)], |html| {
        html.line("h2", &[("id", &title)], &image.platform);
        html.el("dl", &[("class", "tiles")], |html| {
            tables::tile(html, "Size", &size(image.size));
            tables::tile(html, "Layers", &image.layers.len().to_string());
            if let Some(base) = &image.base {
                // With the whole digest it is below.
                tables::tile(
                    html,
                    "Base",
                    base.split('@').next().filter(|_| base.contains("@sha256:")).unwrap_or(base),
                );
            }
            if let Some(program) = image.programs.iter().flatten().next() {
                tables::tile(html, "Go", &program.go);
            }
        });
        html.line("h3", &[], "Layers");
        tables::layers(html, &image.layers, image.size);
        let programs = image.programs.as_deref().unwrap_or_default();
        for (place, program) in programs.iter().enumerate() {
            html.el("h3", &[], |html| {
                html.text("Program ");
                html.line("span", &[("class", "path")], &program.path);
            });
            program::of(html, program, &format!("of-{number}-{place}"), "h4");
        }
        if programs.is_empty() {
            html.line("p", &[("class", "muted")], crate::ui::inspect::no_program(image));
        }
        html.line("h3", &[], "Config");
        tables::config(html, image);
    });
    html.own("\n");
}

fn of_difference(html: &mut Html, against: &Against) {
    html.el("section", &[("id", "against"), ("aria-labelledby", "against-title")], |html| {
        html.line("h2", &[("id", "against-title")], "Differences");
        let [other, _] = &against.why.subjects;
        html.el("p", &[], |html| {
            html.text("From ");
            html.line("code", &[], &other.name);
            html.text(" ");
            html.line("code", &[("class", "muted")], &other.digest.to_string());
        });
        if against.why.same {
            html.line("p", &[], "None: both have the same digest.");
            return;
        }
        causes(html, &against.why.causes);
        for growth in &against.growth {
            let platform = growth.platform.as_ref().map(|platform| format!(" for {platform}"));
            html.el("h3", &[], |html| {
                html.text("What grew or shrank of ");
                html.line("span", &[("class", "path")], &growth.path);
                html.text(&platform.unwrap_or_default());
            });
            let all = [("all of it", growth.was, growth.now)];
            let of = |of: &'_ crate::report::GrowthOf| (of.name.clone(), of.was, of.now);
            let rows = growth.packages.iter().chain(&growth.parts).map(of);
            let all = all.map(|(name, was, now)| (name.to_owned(), was, now));
            tables::growth(html, rows.chain(all));
        }
    });
    html.own("\n");
}

/// How many causes are shown; whoever wants all of many files has `gimg why`.
const MAX_CAUSES: usize = 500;

fn causes(html: &mut Html, causes: &[Cause]) {
    html.el("ul", &[("class", "causes")], |html| {
        for cause in causes.iter().take(MAX_CAUSES) {
            html.el("li", &[], |html| {
                html.text(&cause.to_string());
                if let [change] = cause.changes.as_slice() {
                    html.own(" ").line("code", &[("class", "muted")], change);
                } else if !cause.changes.is_empty() {
                    html.el("ul", &[], |html| {
                        for change in cause.changes.iter().take(MAX_CAUSES) {
                            html.el("li", &[], |html| {
                                html.line("code", &[("class", "muted")], change);
                            });
                        }
                    });
                }
            });
        }
    });
    if causes.len() > MAX_CAUSES {
        html.line("p", &[], &format!("… and {} more: gimg why shows all.", causes.len() - MAX_CAUSES));
    }
}

/// A column of names.
const fn name(title: &'static str) -> Column {
    Column { title, is_number: false }
}

/// A column of numbers.
const fn amount(title: &'static str) -> Column {
    Column { title, is_number: true }
}
