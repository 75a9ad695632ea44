//! Tables of text.

use crate::error::printable;

/// Rows of as many cells as the first, as lines, each column as wide as its widest cell; `right` are the columns of numbers.
pub(super) fn table(rows: &[Vec<String>], right: &[usize], indent: &str) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let width = |column: usize| rows.iter().map(|row| cell(row, column)).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        format!("{indent}{}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A row.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// The start of a text that somebody else wrote: at most so many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    printable(text.chars().take(most).collect())
}

/// The same, with a mark where something was left out.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let is_long = text.chars().nth(most).is_some();
    if is_long { short(text, most.saturating_sub(1)) + "…" } else { short(text, most) }
}

/// So many bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [row(["NAME", "SIZE", "OF"]), row(["ä", "1234567", ""]), row(["longer name", "1", "x"])];
        let text = table(&rows, &[1], "  ");
        assert_eq!(text, "  NAME            SIZE  OF\n  ä            1234567\n  longer name        1  x\n");
        assert_eq!(
            (shortened("abcd", 4), shortened("abcde", 4)),
            ("abcd".to_owned(), "abc\u{2026}".to_owned())
        );
    }
}
