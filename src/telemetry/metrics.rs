//! A run as metrics in Prometheus' text format, for the node exporter's textfile collector. They are of one run, and the
//! next overwrites them: gauges, not counters.

use std::collections::BTreeMap;

use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

use crate::error::{Error, Kind, Result};
use crate::event::Step;
use crate::telemetry::{Run, name, platform};

/// The metrics of a run.
struct Page {
    registry: Registry,
    command: String,
}

impl Page {
    /// Adds a metric with a value for each set of labels.
    fn add<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> Result<()> {
        let wrong = |e: prometheus::Error| Error::new(Kind::Internal, "write metrics", e);
        let names: Vec<&str> = std::iter::once("command").chain(labels.iter().copied()).collect();
        let gauge = GaugeVec::new(Opts::new(format!("gimg_{name}"), help), &names).map_err(wrong)?;
        for (labels, value) in values {
            let labels: Vec<&str> = std::iter::once(self.command.as_str()).chain(labels).collect();
            gauge.get_metric_with_label_values(&labels).map_err(wrong)?.set(value);
        }
        self.registry.register(Box::new(gauge)).map_err(wrong)
    }

    fn one(&self, name: &str, help: &str, value: f64) -> Result<()> {
        self.add(name, help, &[], [(Vec::new(), value)])
    }
}

/// The page. Names and labels are documented in docs/telemetry.md.
///
/// # Errors
/// Only what can't be: names that are none.
pub fn page(run: &Run) -> Result<String> {
    let records = &run.records;
    let page = Page { registry: Registry::new(), command: run.command.clone() };
    let ended = (run.begun + run.elapsed).as_secs_f64();
    page.add("info", "Which gimg ran last.", &["version"], [(vec![env!("CARGO_PKG_VERSION")], 1.0)])?;
    page.one("run_success", "Whether the last run did what it was to do.", f64::from(run.exit_code == 0))?;
    page.one("run_exit_code", "The exit code of the last run.", f64::from(run.exit_code))?;
    page.one("run_end_timestamp_seconds", "When the last run ended, since 1970.", ended)?;
    page.one("run_duration_seconds", "How long the last run took.", run.elapsed.as_secs_f64())?;

    let (mut seconds, mut steps): (BTreeMap<_, f64>, BTreeMap<_, f64>) = Default::default();
    let (mut requests, mut fetched): (BTreeMap<_, f64>, BTreeMap<_, (f64, f64)>) = Default::default();
    for span in &records.spans {
        let of = (name(&span.step), platform(&span.step).unwrap_or_default());
        *seconds.entry(of.clone()).or_default() += span.elapsed.as_secs_f64();
        let result = if span.done { "done" } else { "failed" };
        *steps.entry((of.0, of.1, result)).or_default() += 1.0;
        match &span.step {
            Step::Request { method, status, .. } => {
                let status = status.map_or_else(String::new, |status| status.to_string());
                *requests.entry((method.clone(), status)).or_default() += 1.0;
            }
            Step::Fetch { platform, objects, bytes } => {
                let sum = fetched.entry(platform.clone()).or_default();
                #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
                let more = (*objects as f64, *bytes as f64);
                *sum = (sum.0 + more.0, sum.1 + more.1);
            }
            _ => {}
        }
    }
    page.add(
        "step_duration_seconds",
        "How long all steps of a kind took together; they may run beside each other.",
        &["step", "platform"],
        seconds.iter().map(|((step, platform), value)| (vec![*step, platform.as_str()], *value)),
    )?;
    page.add(
        "steps",
        "How many steps of a kind there were.",
        &["step", "platform", "result"],
        steps
            .iter()
            .map(|((step, platform, result), value)| (vec![*step, platform.as_str(), *result], *value)),
    )?;
    page.add(
        "requests",
        "Requests to servers by method and status; without a status there was no answer, or none of HTTP.",
        &["method", "status"],
        requests.iter().map(|((method, status), value)| (vec![method.as_str(), status.as_str()], *value)),
    )?;
    page.add(
        "recalled_programs",
        "Programs of which nothing had changed, so that nothing was compiled.",
        &["platform"],
        records.recalled.iter().map(|(platform, count)| (vec![platform.as_str()], float(*count))),
    )?;
    page.add(
        "remote_cache_objects",
        "Objects that were fetched ahead from the remote cache.",
        &["platform"],
        fetched.iter().map(|(platform, (objects, _))| (vec![platform.as_str()], *objects)),
    )?;
    page.add(
        "remote_cache_bytes",
        "Their size, compressed.",
        &["platform"],
        fetched.iter().map(|(platform, (_, bytes))| (vec![platform.as_str()], *bytes)),
    )?;
    page.add(
        "blobs",
        "Blobs at their destinations by how they got there: sent, mounted, present, or later with the image.",
        &["how"],
        records.blobs.iter().map(|(how, (blobs, _))| (vec![*how], float(*blobs))),
    )?;
    page.add(
        "blob_bytes",
        "Their size.",
        &["how"],
        records.blobs.iter().map(|(how, (_, bytes))| (vec![*how], float(*bytes))),
    )?;
    page.one("retries", "Requests that were made again.", float(records.retries))?;
    page.one("warnings", "Warnings of the last run.", float(records.warnings))?;
    TextEncoder::new()
        .encode_to_string(&page.registry.gather())
        .map_err(|e| Error::new(Kind::Internal, "write metrics", e))
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::{request, run};
    use super::*;

    #[test]
    fn a_page_has_a_line_for_each_set_of_labels() {
        let mut run = run(&[
            (Step::List, 0, 500, true),
            (request("a", Some(200)), 10, 30, true),
            (request("b", None), 20, 5, false),
            (Step::Fetch { platform: "linux/arm/v7".to_owned(), objects: 3, bytes: 1 << 40 }, 0, 1, true),
        ]);
        run.records.blobs.insert("sent", (2, 100));
        run.exit_code = 3;
        let page = page(&run).unwrap();
        for line in [
            "# TYPE gimg_run_success gauge",
            "gimg_run_success{command=\"build\"} 0",
            "gimg_run_exit_code{command=\"build\"} 3",
            "gimg_run_end_timestamp_seconds{command=\"build\"} 1700000000.1",
            "gimg_step_duration_seconds{command=\"build\",platform=\"\",step=\"go list\"} 0.5",
            "gimg_steps{command=\"build\",platform=\"\",result=\"failed\",step=\"request\"} 1",
            "gimg_requests{command=\"build\",method=\"GET\",status=\"200\"} 1",
            "gimg_remote_cache_bytes{command=\"build\",platform=\"linux/arm/v7\"} 1099511627776",
            "gimg_blob_bytes{command=\"build\",how=\"sent\"} 100",
            "gimg_retries{command=\"build\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }
}
