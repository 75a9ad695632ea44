//! What changed in a file as a unified diff, for people, `git apply` and `patch -p1`.

use similar::TextDiff;

use crate::report::EditedFile;

/// The diff of one file; nothing if nothing changed. Lines end where git thinks they do: at a line feed.
pub(super) fn unified(file: &EditedFile) -> String {
    if file.before == file.after {
        return String::new();
    }
    let (before, after): (Vec<&str>, Vec<&str>) =
        (file.before.split_inclusive('\n').collect(), file.after.split_inclusive('\n').collect());
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&before, &after);
    let name = file.file.strip_prefix("./").unwrap_or(&file.file);
    diff.unified_diff().context_radius(3).header(&header("a", name), &header("b", name)).to_string()
}

/// The name of a file as git writes it: in quotes if it holds what would end it.
fn header(side: &str, name: &str) -> String {
    let name = format!("{side}/{}", name.trim_start_matches('/'));
    if !name.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return name;
    }
    let mut quoted = String::from('"');
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            0x20..0x7f => quoted.push(char::from(byte)),
            byte => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

/// The same for a terminal, over which a file has no power: other control characters are shown as their codes.
pub(super) fn for_terminal(diff: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    diff.chars().map(shown).collect()
}

/// The same with colours, line by line.
pub(super) fn coloured(diff: &str) -> String {
    let colour = |line: &str| match line.as_bytes() {
        [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => "\x1b[1m",
        [b'-', ..] => "\x1b[31m",
        [b'+', ..] => "\x1b[32m",
        [b'@', ..] => "\x1b[36m",
        _ => "",
    };
    let paint = |line: &str| match colour(line) {
        "" => line.to_owned(),
        on => match line.strip_suffix('\n') {
            Some(text) => format!("{on}{text}\x1b[0m\n"),
            None => format!("{on}{line}\x1b[0m"),
        },
    };
    diff.split_inclusive('\n').map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, before: &str, after: &str) -> EditedFile {
        let changed = before != after;
        let (file, before, after) = (name.to_owned(), before.to_owned(), after.to_owned());
        EditedFile { file, changed, images: Vec::new(), before, after }
    }

    #[test]
    fn diffs_are_as_git_writes_them() {
        for (before, after, expected) in [
            ("a\n", "a\n", ""),
            ("a\nb\nc\n", "a\nB\nc\n", "--- a/x.yaml\n+++ b/x.yaml\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"),
            (
                "a",
                "b",
                "--- a/x.yaml\n+++ b/x.yaml\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n",
            ),
            ("a\r\nb\r\n", "a\r\nB\r\n", "--- a/x.yaml\n+++ b/x.yaml\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+B\r\n"),
            ("a\rb\n", "a\rB\n", "--- a/x.yaml\n+++ b/x.yaml\n@@ -1 +1 @@\n-a\rb\n+a\rB\n"),
        ] {
            assert_eq!(unified(&file("./x.yaml", before, after)), expected, "{before:?}");
        }
        let odd = unified(&file("/a\"\n\u{e9}", "a\n", "b\n"));
        assert!(odd.starts_with("--- \"a/a\\\"\\012\\303\\251\"\n"), "{odd}");
        assert_eq!(for_terminal("-a\t\u{1b}[2J\r\n+\u{9b}\u{e9}\n"), "-a\t\\u{1b}[2J\\r\n+\\u{9b}\u{e9}\n");
        let red = coloured("--- a/x\n-b\n c\n");
        assert_eq!(red, "\x1b[1m--- a/x\x1b[0m\n\x1b[31m-b\x1b[0m\n c\n");
    }
}
