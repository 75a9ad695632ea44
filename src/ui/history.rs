//! What `gimg history` says: a table.

use crate::error::Result;
use crate::report::{History, HistoryImage};
use crate::ui::table::{self, short};
use crate::ui::{Format, Voice, json, print};

/// How much of a version or a commit is shown, in characters: others wrote them.
const MAX_VERSION: usize = 24;
const MAX_COMMIT: usize = 12;

impl Voice {
    /// Prints the images of a repository.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn history(&self, history: &History) -> Result<()> {
        match self.format {
            Format::Json => json(history),
            Format::Text => print(table(history)),
        }
    }
}

fn table(history: &History) -> String {
    let with_key = history.images.iter().any(|image| image.signed.is_some());
    let mut rows = vec![vec!["CREATED", "DIGEST", "VERSION", "REVISION", "GO"]];
    rows[0].extend(with_key.then_some("SIGNED"));
    rows[0].push("TAGS");
    let mut rows: Vec<Vec<String>> =
        rows.into_iter().map(|r| r.into_iter().map(str::to_owned).collect()).collect();
    rows.extend(history.images.iter().map(|image| row(image, with_key)));
    table::table(&rows, &[], "")
}

fn row(image: &HistoryImage, with_key: bool) -> Vec<String> {
    let said = |text: Option<&String>, most: usize| text.map_or_else(|| "-".to_owned(), |t| short(t, most));
    let mut revision = said(image.revision.as_ref(), MAX_COMMIT);
    if image.modified {
        revision.push_str("+dirty");
    }
    let mut row = vec![
        said(image.created.as_ref(), usize::MAX),
        format!("sha256:{}", short(&image.digest.hex(), MAX_COMMIT)),
        said(image.version.as_ref(), MAX_VERSION),
        revision,
        said(image.go.as_ref(), MAX_VERSION),
    ];
    let signed = |signed: bool| if signed { "yes" } else { "no" };
    row.extend(with_key.then(|| image.signed.map_or("-", signed).to_owned()));
    row.push(image.tags.join(" "));
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn columns_stand_below_each_other_and_nobody_writes_outside_of_theirs() {
        let named = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            HistoryImage::new("r.io/a", Digest::of(b""), tags)
        };
        let image = HistoryImage {
            created: Some("2024-01-02T03:04:05Z".into()),
            version: Some("v1.2.3\n\u{1b}[2J".into()),
            revision: Some("0123456789abcdef".into()),
            modified: true,
            go: Some("go1.26.8".into()),
            signed: Some(true),
            ..named(&["latest", "v1"])
        };
        let bare = HistoryImage { signed: Some(false), ..named(&["old"]) };
        let history = History { repository: String::new(), images: vec![image.clone(), bare], more: 0 };
        let text = table(&history);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let starts = |line: &str, word: &str| line.find(word).unwrap();
        assert_eq!(starts(lines[0], "REVISION"), starts(lines[1], "0123456789ab+dirty"));
        assert_eq!(starts(lines[0], "SIGNED"), starts(lines[1], "yes"));
        assert_eq!(starts(lines[0], "TAGS"), starts(lines[1], "latest v1"));
        assert!(lines[1].contains("v1.2.3\\u{a}\\u{1b}[2J") && lines[2].ends_with("  no      old"), "{text}");
        let history = History { images: vec![HistoryImage { signed: None, ..image }], ..history };
        assert!(!table(&history).contains("SIGNED"));
    }
}
