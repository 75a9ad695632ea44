//! A summary in Markdown, as CI systems show it. Whatever images say is code in it, and never markup.

use crate::error::printable;
use crate::explain::Explanation;
use crate::report::{Comparison, Growth, Inspected, Published, Summarized, Summary};
use crate::ui::inspect;
use crate::ui::table::{shortened, size};
use crate::ui::why;

/// How many lines of reasons are shown.
const MAX_LINES: usize = 60;
/// How many packages are shown of a program: those that grew or shrank most.
const MAX_ROWS: usize = 10;
/// How many programs are shown that grew or shrank.
const MAX_PROGRAMS: usize = 10;

/// The summary as GitHub's Markdown.
#[must_use]
pub fn markdown(summary: &Summary) -> String {
    summary.images.iter().map(of_image).collect()
}

fn of_image(image: &Summarized) -> String {
    let Summarized { published, compared } = image;
    let mut text = format!("### {}\n\n", code(&title(published)));
    text.push_str(&format!("| | |\n|---|---|\n| Reference | {} |\n", cell(&published.reference)));
    if !published.also.is_empty() {
        text.push_str(&format!("| Also | {} |\n", cells(&published.also)));
    }
    text.push_str(&format!("| Tags | {} |\n", cells(&published.tags)));
    text.push_str(&format!("| Digest | {} |\n\n", cell(&published.digest.to_string())));
    match compared {
        Comparison::Other { with, tag, was, why, growth } => {
            text.push_str(&sizes(published, Some(was)));
            text.push_str(&format!("\n**What changed** against {}", named(with, tag.as_deref())));
            text.push_str(&reasons(why));
            growth.iter().take(MAX_PROGRAMS).for_each(|growth| text.push_str(&of_growth(growth)));
        }
        other => {
            text.push_str(&sizes(published, None));
            text.push_str(&format!("\n{}\n", words(other)));
        }
    }
    text.push('\n');
    text
}

/// The repository, or what else it is called.
fn title(published: &Published) -> String {
    match &published.pushed {
        Some(pushed) => pushed.repository.to_string(),
        None => published.reference.split('@').next().unwrap_or_default().to_owned(),
    }
}

fn words(compared: &Comparison) -> String {
    match compared {
        Comparison::First => "Nothing was there before: none of its tags stood for an image.".to_owned(),
        Comparison::Same { with, tag } => {
            format!("**Nothing changed**: it is {}", named(with, tag.as_deref()))
        }
        Comparison::Unknown => "What was there before couldn't be compared; the log says why.".to_owned(),
        Comparison::Elsewhere | Comparison::Other { .. } => String::new(),
    }
}

/// An image with the tag that stood for it, as the end of a sentence.
fn named(image: &str, tag: Option<&str>) -> String {
    let tag = tag.map(|tag| format!(", which {} stood for", code(tag))).unwrap_or_default();
    format!("{}{tag}.", code(image))
}

fn sizes(published: &Published, was: Option<&Inspected>) -> String {
    let old = |platform: &str| was?.platforms.iter().find(|image| image.platform == platform);
    let mut text = match was {
        Some(_) => "| Platform | Size | Before | Difference | Program |\n|---|--:|--:|--:|--:|\n".to_owned(),
        None => "| Platform | Size | Program |\n|---|--:|--:|\n".to_owned(),
    };
    for image in &published.platforms {
        let mut row = vec![cell(&image.platform), size(image.size)];
        if was.is_some() {
            row.extend(match old(&image.platform) {
                Some(old) => [size(old.size), difference(old.size, image.size)],
                None => ["-", "new"].map(str::to_owned),
            });
        }
        row.push(size(image.binary_size));
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

fn reasons(why: &Explanation) -> String {
    let text = why::text(&why.causes);
    let lines: Vec<&str> = text.lines().collect();
    let mut shown: String = lines.iter().take(MAX_LINES).map(|line| format!("{line}\n")).collect();
    if lines.len() > MAX_LINES {
        shown.push_str(&format!("… and {} more lines (all with gimg why)\n", lines.len() - MAX_LINES));
    }
    let fence = "`".repeat(longest(&shown).max(2) + 1);
    format!("\n\n{fence}text\n{shown}{fence}\n")
}

fn of_growth(growth: &Growth) -> String {
    let platform = growth.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
    let title = html(&printable(format!("{}{platform}", growth.path)));
    let whole = difference(growth.was, growth.now);
    let mut text = format!("\n<details><summary><code>{title}</code>: {whole}</summary>\n\n");
    text.push_str("| Package or part | Before | Now | Difference |\n|---|--:|--:|--:|\n");
    let mut add = |name: &str, was: u64, now: u64| {
        let numbers = [size(was), size(now), difference(was, now)].join(" | ");
        text.push_str(&format!("| {} | {numbers} |\n", cell(name)));
    };
    growth.packages.iter().take(MAX_ROWS).for_each(|of| add(&of.name, of.was, of.now));
    growth.parts.iter().for_each(|of| add(&of.name, of.was, of.now));
    add("all of it", growth.was, growth.now);
    let more = growth.packages.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        text.push_str(&format!("\nand {more} more packages\n"));
    }
    text.push_str("\n</details>\n");
    text
}

/// How much more or less, with a sign only where there is one.
fn difference(was: u64, now: u64) -> String {
    if was == now { size(0) } else { inspect::difference(was, now) }
}

/// Text as code, whatever is in it.
fn code(text: &str) -> String {
    let text = shortened(text, 300);
    let ticks = "`".repeat(longest(&text) + 1);
    // Blanks at both ends are taken away again; without ticks in it none are needed.
    let blank = if text.contains('`') { " " } else { "" };
    format!("{ticks}{blank}{text}{blank}{ticks}")
}

/// The same in a table, where a bar would end the cell even in code.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

fn cells(texts: &[String]) -> String {
    texts.iter().map(|text| cell(text)).collect::<Vec<_>>().join(", ")
}

/// The longest run of backticks.
fn longest(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_images_say_is_code_and_no_markup() {
        assert_eq!(code("a<b>*c*"), "`a<b>*c*`");
        assert_eq!(code("a``b`"), "``` a``b` ```");
        assert_eq!(cell("a|b"), "`a\\|b`");
        assert_eq!(code("a\n# b\u{1b}[31m"), "`a\\u{a}# b\\u{1b}[31m`");
        assert_eq!(html("</summary>&"), "&lt;/summary&gt;&amp;");
        assert_eq!((longest(""), longest("a`b```c``")), (0, 3));
    }
}
