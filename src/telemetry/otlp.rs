//! A run as spans of OpenTelemetry, sent to a collector by OTLP over HTTP (opentelemetry.io/docs/specs/otlp). The crate
//! writes the messages; the connection is that of all servers, with its certificates and proxies.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanExporter as _, SpanLinks,
};

use crate::error::{Error, Kind, Result};
use crate::event::Step;
use crate::settings::telemetry::Collector;
use crate::telemetry::{Run, details, name, platform};

/// How many spans are sent at a time.
const BATCH: usize = 500;

/// Sends a run to a collector through `client`.
///
/// # Errors
/// A collector that doesn't answer in time, or doesn't take it.
pub async fn send(collector: &Collector, client: reqwest::Client, run: &Run) -> Result<()> {
    let failed = |why: String| {
        Error::new(Kind::Unavailable, "send the trace", why).at(collector
            .url
            .split('?')
            .next()
            .unwrap_or_default())
    };
    let exporting = async {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client(client))
            .with_endpoint(&collector.url)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(collector.patience)
            .with_headers(collector.headers.iter().cloned().collect())
            .build()
            .map_err(|e| failed(e.to_string()))?;
        let attributes =
            collector.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        exporter.set_resource(&Resource::builder_empty().with_attributes(attributes).build());
        let mut spans = spans(collector, run);
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(BATCH));
            // The crate's own words may repeat what a collector says.
            exporter.export(spans).await.map_err(|_| failed("the collector did not take it".to_owned()))?;
            spans = rest;
        }
        Ok(())
    };
    match tokio::time::timeout(collector.patience, exporting).await {
        Ok(result) => result,
        Err(_) => Err(failed(format!("it took longer than {:?}", collector.patience))),
    }
}

/// The run and its steps. Requests know no step that they are for: all are the run's.
fn spans(collector: &Collector, run: &Run) -> Vec<SpanData> {
    let ids = RandomIdGenerator::default();
    let begun = SystemTime::UNIX_EPOCH + run.begun;
    let (trace, above) = match collector.parent {
        Some((trace, span)) => (TraceId::from(trace), SpanId::from(span)),
        None => (ids.new_trace_id(), SpanId::INVALID),
    };
    let span =
        |parent: SpanId, name: String, kind, start: Duration, elapsed: Duration, done, attributes| SpanData {
            span_context: SpanContext::new(
                trace,
                ids.new_span_id(),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: parent,
            parent_span_is_remote: parent == above && collector.parent.is_some(),
            span_kind: kind,
            name: name.into(),
            start_time: begun + start,
            end_time: begun + start + elapsed,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if done { Status::Unset } else { Status::error("") },
            instrumentation_scope: InstrumentationScope::builder("gimg")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        };
    let exit = KeyValue::new("process.exit.code", i64::from(run.exit_code));
    let (whole, well) = (format!("gimg {}", run.command), run.exit_code == 0);
    let whole = span(above, whole, SpanKind::Internal, Duration::ZERO, run.elapsed, well, vec![exit]);
    let parent = whole.span_context.span_id();
    let mut all = vec![whole];
    all.extend(run.records.spans.iter().map(|of| {
        let (name, kind) = match &of.step {
            // As the conventions for HTTP want it: few names.
            Step::Request { method, .. } => (method.clone(), SpanKind::Client),
            step => (name(step).to_owned(), SpanKind::Internal),
        };
        span(parent, name, kind, of.start, of.elapsed, of.done, attributes(&of.step))
    }));
    all
}

/// Names are those of the semantic conventions where they have one.
fn attributes(step: &Step) -> Vec<KeyValue> {
    let platform = platform(step).map(|platform| KeyValue::new("gimg.platform", platform));
    let details = details(step).into_iter().map(|(name, value)| match name {
        "method" => KeyValue::new("http.request.method", value),
        "url" => KeyValue::new("url.full", value),
        "status" => KeyValue::new("http.response.status_code", number(&value)),
        "objects" | "bytes" => KeyValue::new(format!("gimg.{name}"), number(&value)),
        name => KeyValue::new(format!("gimg.{name}"), value),
    });
    platform.into_iter().chain(details).collect()
}

fn number(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::from(text.to_owned()), Value::I64)
}

/// The connection.
#[derive(Debug)]
struct Client(reqwest::Client);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    // What `async_trait` makes of an `async fn`.
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answer<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let url = head.uri.to_string();
            let answer = self.0.request(head.method, url).headers(head.headers).body(body).send().await?;
            let status = answer.status();
            // What it says is not needed, but for the connection to be used again.
            let body = answer.bytes().await?;
            let mut response = Response::new(body);
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{request, run};
    use super::*;

    #[test]
    fn steps_are_the_runs_and_the_run_is_its_callers() {
        let mut collector = Collector {
            url: String::new(),
            headers: Vec::new(),
            patience: Duration::from_secs(1),
            resource: Vec::new(),
            parent: Some((0xabc, 0xdef)),
        };
        let mut run = run(&[(Step::List, 5, 10, true), (request("a", Some(503)), 10, 30, false)]);
        run.exit_code = 1;
        let all = spans(&collector, &run);
        let (whole, list, asked) = (&all[0], &all[1], &all[2]);
        assert_eq!(
            (whole.parent_span_id, whole.span_context.trace_id()),
            (SpanId::from(0xdef), TraceId::from(0xabc))
        );
        assert!(whole.parent_span_is_remote && !list.parent_span_is_remote);
        for step in [list, asked] {
            assert_eq!(step.parent_span_id, whole.span_context.span_id());
            assert_eq!(step.span_context.trace_id(), TraceId::from(0xabc));
            assert!(step.start_time >= whole.start_time && step.end_time <= whole.end_time);
        }
        assert_eq!((list.name.as_ref(), asked.name.as_ref()), ("go list", "GET"));
        assert_eq!(list.status, Status::Unset);
        assert_eq!((&whole.status, &asked.status), (&Status::error(""), &Status::error("")));
        assert!(asked.attributes.contains(&KeyValue::new("http.response.status_code", 503)));
        collector.parent = None;
        assert_eq!(spans(&collector, &run)[0].parent_span_id, SpanId::INVALID);
    }
}
