//! The pages: a run's own README with every number, and the summary in `benches/README.md`.

use super::raw::Raw;
use super::rows::{Cell, Row, rows};
use super::stats::{Spread, ratio};
use super::title;

/// Between these lines of `benches/README.md` is the summary of a part.
fn marks(part: &str) -> (String, String) {
    (format!("<!-- {part}: begin, written by make bench-report -->"), format!("<!-- {part}: end -->"))
}

/// How the numbers came about: said once, on every run's page.
const METHOD: &str = "\
- Contenders take turns, in another order each round. Warm jobs have one round before that is not timed; for changed code
  that may be the row before, of the same programs. One-line changes are of each contender's own, in a function that the
  linker has to keep, and never the same twice.
- no-op, kodata-changed: the last change of code is older than two seconds, as it is wherever nobody is typing just now.
  ko links anew every time unless it has KOCACHE; `go build` finds its output current.
- cold: an empty compiler's cache for each, modules downloaded; ko with KOCACHE would be the same as without.
  All other jobs share the user's compiler's cache.
- fresh: a new checkout, an empty compiler's cache and no cache of the tool's own; the tool's image of the commit before
  is in the registry, and gimg has `--cache-from registry`. \"stamped\" is with `-buildvcs=true`, else without; a new commit changes
  only a text that is no input.
- remote-cache: as cold, but an nginx with WebDAV on loopback has what another machine compiled, and gimg has `--remote-cache`;
  -grpc: BuildGrid has it, a server of the Remote Execution API in Python; -oci: the registry has it, in packs.
  +5ms and +30ms: toxiproxy before it holds every answer back so long.
- Whoever has no number in a row on an empty machine compiles all there, as in cold.
- kodata is of random bytes from a fixed seed, which don't compress; one line in a small file beside them changes.
- `go build` is `go build -trimpath` with the same flags, one after the other for several platforms, all programs at
  once. It makes no image; its jobs are the same at every destination.
- registry: olareg on loopback. registry+30ms: toxiproxy in between, which holds every answer back by 30 ms (opening a
  connection takes no longer). layout: an OCI layout; the base still comes from the registry.
- requests and bytes are counted by a proxy that passes bytes on; all that speak to the registry go through it, always.
  That takes 0.07 s of CPU for 100 MB, of everybody. Bytes are all that went to the registry, heads of requests too.
- memory is the tool's own peak (VmHWM of its process, asked for every 10 ms), without go's compilers and linkers.
- CPU is of the tool and all that it started. The base is one small file.
- Equal for all: no flags but `-trimpath`, GOFLAGS=-mod=mod, CGO_ENABLED=0. ko makes no SBOM.
";

/// The page of one run.
pub(crate) fn run_page(name: &str, raw: &Raw) -> String {
    let mut text = format!(
        "# {name}\n\nBy `make bench` or `make bench-empty`; written from raw.tsv by `make bench-report`. Ratios are of medians; below 1 is \
         faster.\n\n![the medians](plot.svg)\n\n"
    );
    for (name, value) in &raw.facts {
        text.push_str(&format!("- {name}: {value}\n"));
    }
    text.push_str(&format!("\n## How\n\n{METHOD}"));
    let mut subject = String::new();
    for row in rows(&raw.samples) {
        if row.subject != subject {
            subject.clone_from(&row.subject);
            text.push_str(&format!(
                "\n## {subject}\n\n\
                 | job | contender | rounds | min s | median s | max s | CPU s | to ko | to ko, KOCACHE | to go build | \
                 memory MB | requests | sent kB |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
            ));
        }
        for (contender, cell) in &row.cells {
            text.push_str(&line(&row, contender, cell));
        }
    }
    text
}

/// One contender's line.
fn line(row: &Row, contender: &str, cell: &Cell) -> String {
    let to = |other: &str| times(ratio(row.median(contender), row.median(other)));
    let middle = |spread: Option<Spread>, unit: f64, digits: usize| match spread {
        Some(spread) => format!("{:.digits$}", spread.median / unit),
        None => "-".to_owned(),
    };
    let rounds = match cell.failures {
        0 => cell.runs.to_string(),
        n => format!("**{n} of {} failed**", cell.runs + n),
    };
    let wall = |value: fn(Spread) -> f64| cell.wall.map_or_else(|| "-".to_owned(), |s| seconds(value(s)));
    format!(
        "| {} | {} | {rounds} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        row.words(),
        title(contender),
        wall(|s| s.min),
        wall(|s| s.median),
        wall(|s| s.max),
        middle(cell.cpu, 1.0, 2),
        to("ko"),
        to("ko-kocache"),
        to("go"),
        middle(cell.memory.map(megabytes), 1.0, 0),
        middle(cell.requests, 1.0, 0),
        middle(cell.sent, 1000.0, 1),
    )
}

/// The summary of a run, whose page is below `folder`: a line for each row.
pub(crate) fn summary(folder: &str, name: &str, raw: &Raw) -> String {
    let fact = |wanted: &str| raw.facts.iter().find(|(name, _)| name == wanted).map_or("-", |(_, v)| v);
    let mut text = format!(
        "Seconds from start to end, median and range, by the run [{name}](e2e/{folder}/{name}) ({}); all numbers, and how they \
         came about, are there.\nRatios are of gimg's median, below 1 is faster. Memory, requests and bytes sent are gimg's, \
         then ko's.\n\n![the medians](e2e/{folder}/{name}/plot.svg)\n",
        fact("machine")
    );
    let mut subject = String::new();
    for row in rows(&raw.samples) {
        if row.subject != subject {
            subject.clone_from(&row.subject);
            text.push_str(&format!(
                "\n| {subject} | gimg | ko | ko, KOCACHE | go build | to ko | to KOCACHE | to go | memory MB | requests | sent kB \
                 |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
            ));
        }
        let time = |contender: &str| range(row.cell(contender));
        let to = |other: &str| times(ratio(row.median("gimg"), row.median(other)));
        let two = |value: fn(&Cell) -> Option<Spread>, unit: f64| {
            let of = |contender: &str| {
                let middle = row.cell(contender).and_then(value);
                middle.map_or_else(|| "-".to_owned(), |s| format!("{:.0}", s.median / unit))
            };
            format!("{}, {}", of("gimg"), of("ko"))
        };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.words(),
            time("gimg"),
            time("ko"),
            time("ko-kocache"),
            time("go"),
            to("ko"),
            to("ko-kocache"),
            to("go"),
            two(|cell| cell.memory.map(megabytes), 1.0),
            two(|cell| cell.requests, 1.0),
            two(|cell| cell.sent, 1000.0),
        ));
    }
    text
}

/// A document with the summary of a part between its two marks, and everything else as it was.
pub(crate) fn splice(part: &str, document: &str, summary: &str) -> Result<String, String> {
    let (begin, end) = marks(part);
    let missing = || format!("benches/README.md lacks the lines `{begin}` and `{end}`");
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", summary.trim_end()))
}

/// `median (min-max)`, or how it failed.
fn range(cell: Option<&Cell>) -> String {
    match cell {
        None => "-".to_owned(),
        Some(cell) if cell.failures > 0 => "**failed**".to_owned(),
        Some(Cell { wall: Some(wall), runs, .. }) if *runs > 1 => {
            format!("{} ({}-{})", seconds(wall.median), seconds(wall.min), seconds(wall.max))
        }
        Some(cell) => cell.wall.map_or_else(|| "-".to_owned(), |wall| seconds(wall.median)),
    }
}

fn seconds(value: f64) -> String {
    if value < 9.995 { format!("{value:.2}") } else { format!("{value:.1}") }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.2}"))
}

/// Of KiB.
fn megabytes(kib: Spread) -> Spread {
    let of = |value: f64| value * 1.024 / 1000.0;
    Spread { min: of(kib.min), median: of(kib.median), max: of(kib.max) }
}
