//! The pure parts of `make bench`, with made-up numbers: counting, choosing, summaries, pages, the plot.

#[path = "../../benches/e2e/choose.rs"]
mod choose;
#[path = "../../benches/e2e/report/mod.rs"]
mod report;
#[path = "../../benches/e2e/requests.rs"]
mod requests;

use choose::{matches, unknown};
use report::raw::{self, Numbers, Raw, Sample};
use report::rows::rows;
use report::stats::{Spread, ratio, spread};
use report::{page, plot};
use requests::Requests;

fn sample(job: &str, round: usize, contender: &str, wall: Option<f64>) -> Sample {
    let numbers = |wall| Numbers {
        wall,
        cpu: Some((wall, 0.5)),
        memory: Some(20_000),
        requests: Some(4),
        sent: (contender != "go").then_some(1_234_567),
    };
    Sample {
        subject: "hello".to_owned(),
        job: job.to_owned(),
        platforms: if job == "no-op" { "linux/amd64" } else { "linux/amd64,linux/arm64" }.to_owned(),
        destination: "registry".to_owned(),
        round,
        contender: contender.to_owned(),
        numbers: wall.map(numbers),
        load: Some(0.25),
    }
}

fn run() -> Raw {
    let walls = [("go", 1.0), ("gimg", 0.25), ("ko", 2.0), ("ko-kocache", 0.5)];
    let mut samples: Vec<Sample> = Vec::new();
    for round in 1..=3 {
        for (contender, wall) in walls {
            samples.push(sample("no-op", round, contender, Some(wall * round as f64)));
        }
    }
    samples.push(sample("cold <all>", 1, "gimg", Some(120.0)));
    samples.push(sample("cold <all>", 1, "ko", None));
    Raw { facts: vec![("machine".to_owned(), "two cores".to_owned())], samples }
}

fn text(run: &Raw) -> String {
    raw::head(&run.facts) + &run.samples.iter().map(raw::line).collect::<String>()
}

#[test]
fn medians_have_a_spread() {
    assert_eq!(spread([]), None);
    assert_eq!(spread([2.0]), Some(Spread { min: 2.0, median: 2.0, max: 2.0 }));
    assert_eq!(spread([9.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 9.0 }));
    assert_eq!(spread([4.0, 1.0, 2.0, 9.0]), Some(Spread { min: 1.0, median: 3.0, max: 9.0 }));
    assert_eq!(ratio(Some(1.0), Some(4.0)), Some(0.25));
    assert_eq!(ratio(Some(1.0), Some(0.0)), None);
    assert_eq!(ratio(None, Some(1.0)), None);
}

#[test]
fn raw_numbers_are_read_as_they_were_written() {
    let run = run();
    let text = text(&run);
    assert!(raw::is_current(&text));
    assert_eq!(raw::parse(&text), Ok(run));
}

#[test]
fn raw_numbers_that_are_none_are_errors_with_a_line() {
    let good = text(&run());
    for (from, to, says) in [
        ("wall_s", "wall", "line 2: not the header"),
        ("0.250", "fast", "line 4: `fast` is no number"),
        ("\tgo\t1.000", "\t1.000", "line 3: 12 fields instead of 13"),
    ] {
        let error = raw::parse(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.starts_with(says), "{error}");
    }
    assert_eq!(raw::parse(""), Err("it has no header".to_owned()));
    assert!(!raw::is_current("job\tplatforms\tround\n"));
}

#[test]
fn rows_gather_contenders_in_one_order() {
    let rows = rows(&run().samples);
    assert_eq!(rows.len(), 2);
    let names: Vec<&str> = rows[0].cells.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, report::CONTENDERS);
    assert_eq!(rows[0].median("ko"), Some(4.0));
    assert_eq!((rows[1].count(), rows[1].median("ko")), (2, None));
}

#[test]
fn a_page_has_medians_ratios_and_failures() {
    let text = page::run_page("today", &run());
    assert!(text.contains("- machine: two cores\n"), "{text}");
    let line = "| no-op → registry | gimg | 3 | 0.25 | 0.50 | 0.75 | 1.00 | 0.12 | 0.50 | 0.25 | 20 | 4 | 1234.6 |\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("| cold <all>, 2 platforms → registry | ko | **1 of 1 failed** | - |"), "{text}");
}

#[test]
fn the_summary_goes_between_its_marks_and_nowhere_else() {
    let summary = page::summary("runs", "today", &run());
    let row = "| no-op → registry | 0.50 (0.25-0.75) | 4.00 (2.00-6.00) | 1.00 (0.50-1.50) | 2.00 (1.00-3.00) | 0.12 | 0.50 | 0.25 | \
               20, 20 | 4, 4 | 1235, 1235 |\n";
    assert!(summary.contains(row), "{summary}");
    assert!(summary.contains("| 120.0 | **failed** | - | - |"), "{summary}");

    let marks =
        "a\n<!-- e2e: begin, written by make bench-report -->\nwhat was there\n<!-- e2e: end -->\nz\n";
    let once = page::splice("e2e", marks, &summary).unwrap();
    assert!(once.starts_with("a\n") && once.ends_with("\nz\n") && !once.contains("what was there"), "{once}");
    assert_eq!(page::splice("e2e", &once, &summary).as_deref(), Ok(once.as_str()));
    assert!(page::splice("e2e", "a\n", &summary).is_err());
}

#[test]
fn the_readme_has_the_marks() {
    for part in ["e2e", "empty"] {
        assert!(page::splice(part, include_str!("../../benches/README.md"), "summary").is_ok(), "{part}");
    }
}

#[test]
fn the_plot_is_well_formed_and_has_no_script() {
    let svg = plot::svg("a <run> & more", &rows(&run().samples));
    well_formed(&svg);
    assert!(!svg.contains("<script") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    // One in the legend, and one for each of gimg's medians.
    assert_eq!(svg.matches("<circle").count(), 3);
    assert!(svg.contains(">failed: ko</text>"), "{svg}");
    well_formed(&plot::svg("nothing", &[]));
}

/// Every element ends, in order, and quotes and ampersands are as they have to be.
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
        for entity in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;"].iter().any(|e| entity.starts_with(e)), "{entity}");
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// A HEAD, a PUT with a length, a chunked PATCH with a trailer, a POST without a body, a GET.
const FIVE: &str = "HEAD /v2/a HTTP/1.1\r\nHost: x\r\n\r\n\
    PUT /v2/b HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\nGET / HTTP/1.1\r\n\r\n...\
    PATCH /v2/c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nDigest: x\r\n\r\n\
    POST /v2/d HTTP/1.1\r\ncontent-length: 0\r\n\r\n\
    GET /v2/e HTTP/1.1\r\n\r\n";

#[test]
fn requests_are_counted_wherever_the_bytes_are_cut() {
    for size in 1..FIVE.len() {
        let mut requests = Requests::new();
        for piece in FIVE.as_bytes().chunks(size) {
            requests.feed(piece);
        }
        assert_eq!(requests.count, 5, "in pieces of {size}");
    }
}

#[test]
fn what_is_no_http_is_not_counted() {
    let mut requests = Requests::new();
    requests.feed(b"PUT / HTTP/1.1\r\nContent-Length: much\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(requests.count, 1);
}

#[test]
fn patterns_choose_rows() {
    for (pattern, yes) in [
        ("", true),
        ("hello", true),
        ("^hello/no-op", true),
        ("no-op/registry$", true),
        ("^hello/.*/registry$", true),
        ("caddy|hello", true),
        ("caddy|ko", false),
        ("^no-op", false),
        ("hello$", false),
        ("hel*o/n", true),
    ] {
        assert_eq!(matches(pattern, "hello/no-op/registry"), yes, "{pattern}");
    }
    assert_eq!(unknown("^hello/(no-op|cold)"), Some('('));
    assert_eq!(unknown("^hello/.*/registry+30ms"), None);
}
