//! What the numbers of a run say: raw.tsv read and written, summaries, tables, a plot. Text in, text out.

pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod raw;
pub(crate) mod rows;
pub(crate) mod stats;

/// Who takes part, in the order of tables and colours. The last is the floor: it makes no image.
pub(crate) const CONTENDERS: [&str; 4] = ["gimg", "ko", "ko-kocache", "go"];

/// A contender's name for readers.
pub(crate) fn title(contender: &str) -> &str {
    match contender {
        "ko-kocache" => "ko, KOCACHE",
        "go" => "go build",
        other => other,
    }
}
