//! The head of a Go source: all that decides which packages there are, and which files they have.
//!
//! What follows is what functions do. A change of that alone changes programs, but not what they are made of.

/// What of a Go source can change what `go list` says: everything before its first declaration that is no import (the
/// build constraints, the package, the imports, and what C gets), and the lines that embed files wherever they are
/// (go/build, "readGoInfo"). What is no Go source is its own head.
pub(super) fn head(text: &[u8]) -> Vec<u8> {
    let end = end_of_imports(text);
    let mut head = text[..end].to_vec();
    for line in text[end..].split(|b| *b == b'\n') {
        // Also within other text: one line too many is harmless.
        if line.windows(b"//go:embed".len()).any(|w| w == b"//go:embed") {
            head.extend_from_slice(line);
            head.push(b'\n');
        }
    }
    head
}

/// Where the first declaration begins that is no import. The end if there is none, or if something is odd.
fn end_of_imports(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let rest = &text[at..];
        let length = match byte {
            b'/' if rest.starts_with(b"//") => to(rest, b"\n"),
            b'/' if rest.starts_with(b"/*") => to(&rest[2..], b"*/").map(|n| n + 2),
            b'"' => string(rest),
            b'`' => to(&rest[1..], b"`").map(|n| n + 1),
            b if b.is_ascii_alphabetic() || *b == b'_' || *b >= 0x80 => {
                let length = rest.iter().position(|b| !is_letter(*b)).unwrap_or(rest.len());
                if matches!(&rest[..length], b"func" | b"type" | b"var" | b"const") {
                    return at;
                }
                Some(length)
            }
            _ => Some(1),
        };
        let Some(length) = length else { return text.len() };
        at += length;
    }
    text.len()
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// How many bytes there are up to and with `end`.
fn to(text: &[u8], end: &[u8]) -> Option<usize> {
    text.windows(end.len()).position(|w| w == end).map(|n| n + end.len())
}

/// The length of a string in double quotes.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(head(text.as_bytes())).unwrap()
    }

    #[test]
    fn bodies_are_left_out_and_nothing_else() {
        let top = "//go:build linux // func\n\n/* var */ package main\n\nimport (\n\tf \"fmt\"\n\t_ `func.go/x`\n)\nimport \"const\\\"\"\n";
        assert_eq!(shown(&format!("{top}func main() {{ f.Println() }}\n")), top);
        assert_eq!(shown(&format!("{top}var x = 1\n")), top);
        assert_eq!(
            shown(&format!("{top}\n//go:embed a b\nvar x string\n")),
            format!("{top}\n//go:embed a b\n")
        );
        let late = "package p\nconst a = 1\n\t//go:embed *.txt\nvar b embed.FS\n";
        assert_eq!(shown(late), "package p\n\t//go:embed *.txt\n");
    }

    #[test]
    fn what_is_odd_is_all_head() {
        for odd in
            ["package p\n/* func", "package p\nimport \"x\nfunc f()", "package p\nimport `func", "", "%!func"]
        {
            let found = shown(odd);
            assert!(found == odd || odd == "%!func" && found == "%!", "{odd:?}: {found:?}");
        }
        // A name that only begins so is a name.
        assert_eq!(shown("package functions // x"), "package functions // x");
    }
}
