//! A run as a trace that Perfetto and chrome://tracing show ("Trace Event Format", the JSON object form).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::telemetry::{Run, Span, details, name, platform};

/// The kinds of steps, in the order in which they are shown.
const ORDER: [&str; 6] = ["go list", "fetch", "compile", "pack", "publish", "request"];
/// A viewer has one lane for each thread: every kind has so many for itself.
const LANES: usize = 1000;

/// The document, which ends with a line feed.
#[must_use]
pub fn trace(run: &Run) -> String {
    let whole = json!({
        "name": format!("gimg {}", run.command), "ph": "X", "ts": 0, "dur": micros(run.elapsed), "pid": 1, "tid": 0,
        "args": {"exitCode": run.exit_code},
    });
    let mut events = vec![lane(0, "gimg", 0), whole];
    for (order, kind) in ORDER.iter().enumerate() {
        let mut spans: Vec<&Span> = run.records.spans.iter().filter(|s| name(&s.step) == *kind).collect();
        // The longer one of two that begin together comes first, as viewers nest them.
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.elapsed)));
        // When each lane is free again.
        let mut free: Vec<Duration> = Vec::new();
        for span in spans {
            let number = free.iter().position(|end| *end <= span.start).unwrap_or(free.len());
            let thread = (order + 1) * LANES + number.min(LANES - 1);
            match free.get_mut(number) {
                Some(end) => *end = span.start + span.elapsed,
                None => {
                    free.push(span.start + span.elapsed);
                    events.push(lane(thread, kind, number));
                }
            }
            events.push(event(span, thread));
        }
    }
    let mut other = BTreeMap::from([("begun", run.begun.as_secs_f64().to_string())]);
    if run.records.more > 0 {
        other.insert("spansLeftOut", run.records.more.to_string());
    }
    let document = json!({"displayTimeUnit": "ms", "traceEvents": events, "otherData": other});
    format!("{document}\n")
}

/// The name of a lane.
fn lane(thread: usize, kind: &str, number: usize) -> Value {
    let name = if number == 0 { kind.to_owned() } else { format!("{kind} {}", number + 1) };
    json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}})
}

fn event(span: &Span, thread: usize) -> Value {
    let details = details(&span.step);
    let of = |wanted: &str| details.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let kind = name(&span.step);
    let shown = match (of("method").zip(of("url")), of("program"), platform(&span.step)) {
        (Some((method, url)), ..) => format!("{method} {url}"),
        (None, Some(program), Some(platform)) => format!("{kind} {program} {platform}"),
        (None, None, Some(platform)) => format!("{kind} {platform}"),
        _ => kind.to_owned(),
    };
    let mut args: Map<String, Value> =
        details.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    if !span.done {
        args.insert("failed".to_owned(), json!(true));
    }
    json!({
        "name": shown, "cat": kind, "ph": "X", "ts": micros(span.start), "dur": micros(span.elapsed), "pid": 1,
        "tid": thread, "args": args,
    })
}

/// Microseconds, the unit of the format.
fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::super::tests::{request, run};
    use super::*;
    use crate::event::Step;

    #[test]
    fn no_two_spans_of_a_lane_overlap() {
        let run = run(&[
            (Step::List, 0, 10, true),
            (request("a", Some(200)), 10, 30, true),
            (request("b", None), 20, 5, false),
            (request("c", Some(404)), 30, 5, true),
            (request("d", Some(200)), 40, 5, true),
        ]);
        let trace: Value = serde_json::from_str(&trace(&run)).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let of = |name: &str| events.iter().find(|e| e["name"] == format!("GET https://r.example/v2/{name}"));
        let thread = |name: &str| of(name).unwrap()["tid"].as_u64().unwrap();
        assert_ne!(thread("a"), thread("b"));
        assert_eq!((thread("b"), thread("a")), (thread("c"), thread("d")));
        assert_eq!(of("b").unwrap()["args"]["failed"], true);
        assert_eq!(
            of("c").unwrap()["args"],
            json!({"method": "GET", "url": "https://r.example/v2/c", "status": "404"})
        );
        assert_eq!((&of("a").unwrap()["ts"], &of("a").unwrap()["dur"]), (&json!(10_000.0), &json!(30_000.0)));
        let lanes: Vec<&Value> =
            events.iter().filter(|e| e["ph"] == "M").map(|e| &e["args"]["name"]).collect();
        assert_eq!(lanes, ["gimg", "go list", "request", "request 2"]);
        assert_eq!(events[1]["dur"], 100_000.0);
    }
}
