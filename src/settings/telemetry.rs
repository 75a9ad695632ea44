//! Who is told what a run did: files, and a collector of OpenTelemetry, as its specification names the variables
//! ("OpenTelemetry Environment Variable Specification", "OpenTelemetry Protocol Exporter").

use std::path::PathBuf;
use std::time::Duration;

use crate::settings::env::{self, Env};

/// What a collector gets when the specification's default would hold up a build that is done.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The file for a trace in Chrome's format.
    pub trace: Option<PathBuf>,
    /// The file for metrics in Prometheus' text format.
    pub metrics: Option<PathBuf>,
    /// The collector.
    pub collector: Option<Collector>,
    /// What of the variables has no effect.
    pub warnings: Vec<String>,
}

/// A collector.
#[derive(Clone, PartialEq, Eq)]
pub struct Collector {
    /// The whole URL.
    pub url: String,
    /// Headers of every request; their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// How long all of it may take.
    pub patience: Duration,
    /// Attributes of the resource: `service.name` and others.
    pub resource: Vec<(String, String)>,
    /// The trace and the span that the run is part of.
    pub parent: Option<(u128, u64)>,
}

/// Values of headers and the URL may be secrets.
impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl Telemetry {
    /// What flags and environment say; none if nobody is told anything.
    #[must_use]
    pub fn resolve(trace: Option<PathBuf>, metrics: Option<PathBuf>, env: &Env) -> Option<Self> {
        let mut warnings = Vec::new();
        let collector = collector(env, &mut warnings);
        let telemetry = Telemetry { trace, metrics, collector, warnings };
        (telemetry != Telemetry::default()).then_some(telemetry)
    }
}

/// The collector, if one is named: the specification's default is one on this machine, which hardly any machine of CI has.
fn collector(env: &Env, warnings: &mut Vec<String>) -> Option<Collector> {
    let base = env.first(&[env::OTEL_EXPORTER_OTLP_ENDPOINT]);
    let own = env.first(&[env::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT]);
    let url = match (own, base) {
        (Some(own), _) => own.to_owned(),
        (None, Some(base)) => format!("{}/v1/traces", base.trim_end_matches('/')),
        (None, None) => return None,
    };
    if env.first(&[env::OTEL_SDK_DISABLED]).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let exporters = env.first(&[env::OTEL_TRACES_EXPORTER]).unwrap_or("otlp");
    if !exporters.split(',').any(|exporter| exporter.trim() == "otlp") {
        return None;
    }
    let protocol = [env::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, env::OTEL_EXPORTER_OTLP_PROTOCOL];
    match env.first(&protocol) {
        None | Some("http/protobuf") => {}
        Some(other) => {
            warnings.push(format!("no trace is sent: OTLP is spoken by http/protobuf only, not by {other}"));
            return None;
        }
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        warnings.push(
            "no trace is sent: the collector's URL begins with neither http:// nor https://".to_owned(),
        );
        return None;
    }
    let parent = match env.first(&[env::TRACEPARENT]).map(parent) {
        // Whoever called us doesn't want to be watched.
        Some(Some(Parent { sampled: false, .. })) => return None,
        Some(Some(Parent { trace, span, .. })) => Some((trace, span)),
        Some(None) | None => None,
    };
    let mut pairs = |name: &str| {
        let text = env.first(&[name]).unwrap_or_default();
        let (pairs, whole) = list(text);
        if !whole {
            warnings.push(format!("a part of {name} has no effect: it is no list of name=value"));
        }
        pairs
    };
    let mut headers = pairs(env::OTEL_EXPORTER_OTLP_HEADERS);
    headers.extend(pairs(env::OTEL_EXPORTER_OTLP_TRACES_HEADERS));
    let mut resource = vec![("service.name".to_owned(), "gimg".to_owned())];
    resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    resource.extend(pairs(env::OTEL_RESOURCE_ATTRIBUTES));
    if let Some(name) = env.first(&[env::OTEL_SERVICE_NAME]) {
        resource.push(("service.name".to_owned(), name.to_owned()));
    }
    let patience = [env::OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, env::OTEL_EXPORTER_OTLP_TIMEOUT];
    let patience = env.first(&patience).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    Some(Collector { url, headers, patience: patience.unwrap_or(PATIENCE), resource, parent })
}

/// What `TRACEPARENT` says (W3C Trace Context, "traceparent").
struct Parent {
    trace: u128,
    span: u64,
    sampled: bool,
}

/// None if it says nothing that can be used.
fn parent(text: &str) -> Option<Parent> {
    let parts: Vec<&str> = text.trim().split('-').collect();
    let [version, trace, span, flags] = parts.first_chunk()?;
    let sizes = [version.len(), trace.len(), span.len(), flags.len()];
    if sizes != [2, 32, 16, 2] || *version == "ff" || *version == "00" && parts.len() > 4 {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(Parent { trace, span, sampled })
}

/// `name=value,…`, values with percent signs (W3C Baggage), and whether all of the text was that.
fn list(text: &str) -> (Vec<(String, String)>, bool) {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pairs: Vec<Option<(String, String)>> = parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().to_owned(), value.into_owned())).filter(|(name, _)| !name.is_empty())
        })
        .collect();
    let whole = pairs.iter().all(Option::is_some);
    (pairs.into_iter().flatten().collect(), whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(variables: &[(&str, &str)]) -> Option<Telemetry> {
        let env = Env::new(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        Telemetry::resolve(None, None, &env)
    }

    const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

    #[test]
    fn nobody_is_told_unless_somebody_is_named() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_EXPORTER", "otlp")],
            &[AT, ("OTEL_SDK_DISABLED", "true")],
            &[AT, ("OTEL_TRACES_EXPORTER", "none")],
            &[AT, ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")],
        ] {
            assert_eq!(resolve(variables), None, "{variables:?}");
        }
        for variables in
            [&[AT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")][..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318")]]
        {
            let found = resolve(variables).unwrap();
            assert_eq!((found.collector, found.warnings.len()), (None, 1));
        }
        let env = Env::default();
        assert!(Telemetry::resolve(Some(PathBuf::from("t")), None, &env).unwrap().collector.is_none());
    }

    #[test]
    fn variables_say_where_and_as_whose() {
        let collector = |variables: &[(&str, &str)]| resolve(variables).unwrap().collector.unwrap();
        let found = collector(&[AT]);
        assert_eq!((found.url.as_str(), found.patience), ("http://c:4318/v1/traces", PATIENCE));
        assert_eq!(found.resource[0], ("service.name".to_owned(), "gimg".to_owned()));
        let found = collector(&[
            AT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://d/traces"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2, x-a = b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb"),
            ("OTEL_SERVICE_NAME", "ci"),
            ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]);
        assert_eq!((found.url.as_str(), found.patience.as_millis()), ("https://d/traces", 500));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(found.headers, [pair("authorization", "Bearer hunter2"), pair("x-a", "b")]);
        assert_eq!(found.resource[2..], [pair("team", "a,b"), pair("service.name", "ci")]);
        assert_eq!(found.parent, Some((0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331)));
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-é-b7ad6b7169203331-01",
        ] {
            assert!(parent(text).is_none(), "{text}");
        }
        assert!(
            parent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x").is_some_and(|p| p.sampled)
        );
    }
}
