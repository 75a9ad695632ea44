//! Which licences texts are: an SPDX expression, or nothing where that isn't sure.
//!
//! A text is compared with those of the SPDX list that Go modules have, and with those that are much like them, so that
//! one isn't taken for another. What a text says beside licences must be little: a sentence more can change what is
//! allowed.

use std::collections::BTreeSet;

use spdx::detection::TextData;
use spdx::text::LICENSE_TEXTS;

/// The licence of Go and its standard library, of every version (go.dev/LICENSE).
pub(super) const GO: &str = "BSD-3-Clause";

/// How much of a text must be a licence's, of 1. Names of holders in the text take away some (Go's own: 0.953).
const ALIKE: f32 = 0.92;
/// From here on nothing else is looked for in a text.
const SAME: f32 = 0.985;
/// As how many licences a part of a text is tried.
const TRIED: usize = 4;
/// How many licences one text may hold.
const MAX_PARTS: usize = 6;
/// How many words a text may have that are no licence's: which files a licence is for, an address. Whoever restricts a
/// licence in earnest needs more.
const MAX_WORDS: usize = 80;
/// Longer texts than this are no licences, in bytes and lines; the longest of the list has 35 KB and 700 lines.
const MAX_TEXT: usize = 64 * 1024;
const MAX_LINES: usize = 3000;

/// The licences that are told apart, by their identifiers.
const IDS: &[&str] = &[
    "0BSD",
    "AFL-3.0",
    "AGPL-3.0-only",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-2-Clause-Views",
    "BSD-3-Clause",
    "BSD-3-Clause-Attribution",
    "BSD-3-Clause-Clear",
    "BSD-3-Clause-HP",
    "BSD-3-Clause-LBNL",
    "BSD-3-Clause-Modification",
    "BSD-3-Clause-No-Military-License",
    "BSD-3-Clause-No-Nuclear-License",
    "BSD-3-Clause-No-Nuclear-License-2014",
    "BSD-3-Clause-No-Nuclear-Warranty",
    "BSD-4-Clause",
    "BSD-4-Clause-UC",
    "BSD-Source-Code",
    "BSL-1.0",
    "BUSL-1.1",
    "BlueOak-1.0.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CDDL-1.1",
    "CPL-1.0",
    "ECL-2.0",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.1",
    "EUPL-1.2",
    "FSL-1.1-ALv2",
    "FSL-1.1-MIT",
    "GPL-1.0-only",
    "GPL-2.0-only",
    "GPL-3.0-only",
    "HPND",
    "ICU",
    "ISC",
    "ImageMagick",
    "JSON",
    "LGPL-2.0-only",
    "LGPL-2.1-only",
    "LGPL-3.0-only",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MIT-Modern-Variant",
    "MIT-advertising",
    "MIT-enna",
    "MIT-feh",
    "MPL-1.1",
    "MPL-2.0",
    "MS-LPL",
    "MS-PL",
    "MS-RL",
    "MulanPSL-1.0",
    "MulanPSL-2.0",
    "NCSA",
    "NTP",
    "OFL-1.0",
    "OFL-1.1",
    "OSL-3.0",
    "OpenSSL",
    "Pixar",
    "PostgreSQL",
    "Python-2.0",
    "SGI-B-2.0",
    "SHL-0.51",
    "SSPL-1.0",
    "UPL-1.0",
    "Unicode-3.0",
    "Unicode-DFS-2015",
    "Unicode-DFS-2016",
    "Unlicense",
    "W3C",
    "WTFPL",
    "X11",
    "X11-distribute-modifications-variant",
    "Xnet",
    "Zlib",
    "curl",
];

/// Their texts: picked when gimg is compiled, so that it holds no others.
const TEXTS: [&str; IDS.len()] = {
    let mut texts = [""; IDS.len()];
    let mut at = 0;
    while at < IDS.len() {
        texts[at] = text_of(IDS[at]);
        at += 1;
    }
    texts
};

const APACHE: &str = "Apache-2.0";
const APACHE_TEXT: &str = text_of(APACHE);

/// The text of a licence of the list; a test sees that each is there.
const fn text_of(id: &str) -> &'static str {
    let mut at = 0;
    while at < LICENSE_TEXTS.len() {
        if is_same(LICENSE_TEXTS[at].0.as_bytes(), id.as_bytes()) {
            return LICENSE_TEXTS[at].1;
        }
        at += 1;
    }
    ""
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// What texts are compared with. Making it takes some hundredths of a second, and 14 MB.
pub struct Licences(Vec<(&'static str, TextData)>);

impl Licences {
    /// Which licences are told apart, and how: raised with every change of either. What is remembered of texts has it.
    pub const VERSION: u32 = 1;

    /// Reads the texts of the licences.
    #[must_use]
    pub fn read() -> Self {
        let whole = IDS.iter().zip(TEXTS).map(|(id, text)| (*id, text));
        // It is also there without its appendix, or as the notice in it alone.
        let terms = APACHE_TEXT.split("END OF TERMS AND CONDITIONS").next();
        let notice = APACHE_TEXT.rfind("Licensed under the Apache License").map(|at| &APACHE_TEXT[at..]);
        let parts = [terms, notice].into_iter().flatten().map(|text| (APACHE, text));
        Licences(whole.chain(parts).map(|(id, text)| (id, TextData::new(text).without_text())).collect())
    }

    /// The licences in a text, sorted. None if it surely holds none, or says more than they do.
    #[must_use]
    pub fn of_text(&self, text: &str) -> Option<Vec<String>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut rest = TextData::new(text);
        if rest.lines().len() > MAX_LINES {
            return None;
        }
        let mut found = BTreeSet::new();
        let whole = self.ranked(&rest);
        if let Some((_, licence)) = whole.first().filter(|(score, _)| *score >= SAME) {
            return Some(vec![licence.0.to_owned()]);
        }
        for _ in 0..MAX_PARTS {
            let Some((id, left)) = self.part(&rest) else { break };
            found.insert(id.to_owned());
            rest = left;
        }
        let is_sure = !found.is_empty() && words(rest.lines()) <= MAX_WORDS;
        is_sure.then(|| found.into_iter().collect())
    }

    /// A licence that is part of a text, and the text without it.
    fn part(&self, text: &TextData) -> Option<(&'static str, TextData)> {
        for (score, licence) in self.ranked(text).into_iter().take(TRIED) {
            if score <= 0.0 {
                break;
            }
            let (mut part, mut alike) = text.optimize_bounds(&licence.1);
            let mut id = licence.0;
            // Of just this part another one may be the better name.
            if let Some((_, better)) = self.ranked(&part).into_iter().next().filter(|(_, b)| b.0 != id) {
                (part, alike) = text.optimize_bounds(&better.1);
                id = better.0;
            }
            if alike >= ALIKE {
                return Some((id, part.white_out()));
            }
        }
        None
    }

    /// The licences by how much a text is like them, the likest first; of equals the first of the list.
    fn ranked(&self, text: &TextData) -> Vec<(f32, &(&'static str, TextData))> {
        let mut all: Vec<_> = self.0.iter().map(|licence| (licence.1.match_score(text), licence)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all
    }
}

/// How many words there are, but for who holds the rights.
fn words(lines: &[String]) -> usize {
    let counts = |line: &&String| {
        let line = line.to_lowercase();
        !["copyright", "all rights reserved", "(c)"].iter().any(|says| line.contains(says))
    };
    lines.iter().filter(counts).map(|line| line.split_whitespace().count()).sum()
}

/// The expression of a module whose texts these are the licences of: all of them hold, for what the texts say; none if
/// one isn't known, or there is no text (SPDX 2.3, annex D).
#[must_use]
pub fn expression(texts: &[Option<Vec<String>>]) -> Option<String> {
    let mut all = BTreeSet::new();
    for text in texts {
        all.extend(text.as_ref()?.iter().map(String::as_str));
    }
    let all: Vec<&str> = all.into_iter().collect();
    (!all.is_empty()).then(|| all.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of the list, with who holds the rights.
    fn held(id: &str) -> String {
        format!("Copyright (c) 2024 The App Authors. All rights reserved.\n\n{}", text(id))
    }

    fn text(id: &str) -> &'static str {
        IDS.iter().zip(TEXTS).find(|(known, _)| **known == id).unwrap().1
    }

    #[test]
    fn every_licence_of_the_list_is_itself_and_identifiers_are_sorted() {
        let known = Licences::read();
        assert!(IDS.is_sorted() && TEXTS.iter().all(|text| !text.is_empty()));
        for id in IDS {
            assert_eq!(known.of_text(&held(id)), Some(vec![(*id).to_owned()]), "{id}");
        }
    }

    #[test]
    fn texts_are_known_with_names_and_without_appendices_and_several_in_one() {
        let known = Licences::read();
        let of = |text: &str| known.of_text(text).map(|found| found.join(" "));
        let google = text("BSD-3-Clause").replace(
            "the name of the copyright holder nor the names of its contributors",
            "the name of Google LLC nor the names of its contributors",
        );
        assert_eq!(of(&google).as_deref(), Some("BSD-3-Clause"));
        let apache = text("Apache-2.0").split("END OF TERMS").next().unwrap();
        assert_eq!(of(apache).as_deref(), Some("Apache-2.0"));
        let notice = &text("Apache-2.0")[text("Apache-2.0").rfind("Licensed under").unwrap()..];
        assert_eq!(of(&format!("Copyright 2020 A. Author\n\n{notice}")).as_deref(), Some("Apache-2.0"));
        let both = format!("{}\n\n-----\nThe files in b/ are:\n\n{}", text("Apache-2.0"), held("MIT"));
        assert_eq!(of(&both).as_deref(), Some("Apache-2.0 MIT"));
    }

    #[test]
    fn what_says_more_or_something_else_is_not_known() {
        let known = Licences::read();
        let more = "The grant of rights under the licence does not include, and the licence does not grant to \
                    you, the right to sell the software. ";
        for bad in [
            String::new(),
            "All rights reserved.".to_owned(),
            format!("{}\n\n{}", more.repeat(5), text("MIT")),
            "This is no licence but a long text about the weather. ".repeat(200),
            "\u{0}".repeat(1000),
            "x".repeat(MAX_TEXT + 1),
            "to use, copy and sell\n".repeat(MAX_LINES),
            "licence\n".repeat(MAX_LINES + 1),
        ] {
            assert_eq!(known.of_text(&bad), None, "{}", &bad[..bad.len().min(60)]);
        }
    }

    #[test]
    fn a_module_has_all_its_licences_or_none_is_said() {
        let some = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        let of = |texts: &[Option<Vec<String>>]| expression(texts);
        assert_eq!(of(&[some(&["MIT"])]).as_deref(), Some("MIT"));
        assert_eq!(
            of(&[some(&["MIT"]), some(&["Apache-2.0", "MIT"])]).as_deref(),
            Some("Apache-2.0 AND MIT")
        );
        assert_eq!(of(&[some(&["MIT"]), None]), None);
        assert_eq!(of(&[]), None);
    }
}
