//! What a run tells those who look at it later: a trace, metrics, and spans for a collector.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gimg::event::{Event, Step};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::interrupt::{endless, pids, send, start, until, wait};
use crate::support::Sandbox;
use crate::support::canary::{PAIR, SECRET};
use crate::support::client::{Client, layer, own, single};
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::servers::{Server, tool};

const LINE: &str = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64";

fn hello() -> Sandbox {
    Sandbox::go("hello").env("GIMG_CACHE", "off")
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    std::fs::read_to_string(sandbox.path("src").join(name)).unwrap()
}

/// The spans of a trace, each with its lane's name.
fn spans(sandbox: &Sandbox) -> Vec<(String, Value)> {
    let trace: Value = serde_json::from_str(&read(sandbox, "trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap().clone();
    let lane = |thread: &Value| {
        let named = events.iter().find(|e| e["ph"] == "M" && e["tid"] == *thread).unwrap();
        named["args"]["name"].as_str().unwrap().to_owned()
    };
    events.iter().filter(|e| e["ph"] == "X").map(|e| (lane(&e["tid"]), e.clone())).collect()
}

fn of<'a>(spans: &'a [(String, Value)], kind: &str) -> Vec<&'a Value> {
    spans.iter().map(|(_, span)| span).filter(|span| span["cat"] == kind).collect()
}

#[test]
fn a_trace_has_every_step_and_no_secret() {
    let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let host = registry.host();
    let sandbox = hello().env("GIMG_REPO", &format!("{host}/team"));
    let config = json!({"auths": {(&host): {"auth": PAIR}}});
    sandbox.write("docker/config.json", &config.to_string());
    sandbox.may_hold_secrets("src/docker");
    let dir = sandbox.path("src/docker");
    let sandbox = sandbox.env("DOCKER_CONFIG", dir.to_str().unwrap());
    registry.fail(When::once("PUT", "/manifests/"), Fault::Status(503, Vec::new(), String::new()));
    // What is left is looked through for the secret by the sandbox.
    sandbox.run_with(LINE, &["--trace", "trace.json", "--metrics-file", "gimg.prom"]).ok();
    let spans = spans(&sandbox);
    for (kind, count) in [("go list", 1), ("compile", 2), ("pack", 2), ("publish", 1)] {
        let found = of(&spans, kind);
        assert_eq!(found.len(), count, "{kind}: {found:?}");
        assert!(found.iter().all(|span| span["args"].get("failed").is_none()), "{found:?}");
    }
    let compiled: Vec<&str> = of(&spans, "compile").iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(
        compiled.contains(&"compile linux/amd64") && compiled.contains(&"compile linux/arm64"),
        "{compiled:?}"
    );
    let requests = of(&spans, "request");
    assert_eq!(requests.len(), registry.log().len(), "each request is there");
    assert!(requests.iter().any(|span| span["args"]["status"] == "503"), "{requests:?}");
    let puts = requests.iter().filter(|span| span["args"]["method"] == "PUT");
    assert!(puts.count() >= 4);
    assert!(requests.iter().all(|span| !span["args"]["url"].as_str().unwrap().contains('?')), "{requests:?}");

    // All lie within the run, and those of a lane do not overlap.
    let whole = &spans[0].1;
    let ends = |span: &Value| {
        (span["ts"].as_f64().unwrap(), span["ts"].as_f64().unwrap() + span["dur"].as_f64().unwrap())
    };
    assert_eq!(whole["name"], "gimg build");
    for (lane, span) in &spans[1..] {
        let (start, end) = ends(span);
        assert!(start >= 0.0 && end <= ends(whole).1 + 1.0, "{span}");
        for (other_lane, other) in &spans[1..] {
            let (begun, ended) = ends(other);
            let apart = end <= begun + 1e-3 || ended <= start + 1e-3;
            assert!(lane != other_lane || span == other || apart, "{lane}: {span} {other}");
        }
    }

    let metrics = read(&sandbox, "gimg.prom");
    let value = |line: &str| {
        let found = metrics
            .lines()
            .find_map(|l| l.strip_prefix(line))
            .unwrap_or_else(|| panic!("{line}:\n{metrics}"));
        found.trim().parse::<f64>().unwrap()
    };
    assert!((value("gimg_run_success{command=\"build\"}") - 1.0).abs() < 1e-9);
    assert!(value("gimg_retries{command=\"build\"}") >= 1.0);
    assert!(value("gimg_blob_bytes{command=\"build\",how=\"sent\"}") > 1e6);
    assert!(value("gimg_run_end_timestamp_seconds{command=\"build\"}") > 1.7e9);
    let took =
        value("gimg_step_duration_seconds{command=\"build\",platform=\"linux/arm64\",step=\"compile\"}");
    assert!(took > 0.0 && took <= value("gimg_run_duration_seconds{command=\"build\"}"));
}

#[tokio::test]
async fn where_a_registry_leads_elsewhere_no_path_is_told() {
    let (registry, store) = (TestRegistry::start(), TestRegistry::start());
    let graph = single(&own(&store), &["v1"], &[layer(1, 1000)]);
    Client::new().push(&graph).await.unwrap();
    let descriptor = &graph.blobs[0].descriptor;
    // Another host, as far as names go.
    let elsewhere = store.host().replace("127.0.0.1", "localhost");
    let location = format!("http://{elsewhere}/v2/team/app/blobs/{}", descriptor.digest);
    registry
        .fail(When::once("GET", "/blobs/"), Fault::Status(307, vec![("location", location)], String::new()));
    let client = Client::new();
    client.read(&own(&registry).parse().unwrap(), descriptor).await.unwrap();
    let events = client.heard.events();
    let urls = events.iter().filter_map(|event| match event {
        Event::Took { step: Step::Request { url, status, .. }, .. } => Some((url.as_str(), status.unwrap())),
        _ => None,
    });
    let asked = format!("http://{}/v2/team/app/blobs/{}", registry.host(), descriptor.digest);
    let led = format!("http://{elsewhere}/…");
    let urls: Vec<_> = urls.collect();
    // The first question is whether anybody is there.
    assert_eq!(urls[1..], [(asked.as_str(), 307), (led.as_str(), 200)]);
}

#[test]
fn a_run_that_fails_is_told_of_too() {
    let sandbox = hello();
    sandbox.write("cmd/hello/wrong.go", "package main\n\nfunc init() { undefined() }\n");
    let more = ["-o", "oci:out", "--trace", "trace.json", "--metrics-file", "gimg.prom"];
    let code = sandbox.run_with(LINE, &more).code;
    assert!(code > 0);
    let spans = spans(&sandbox);
    assert_eq!(spans[0].1["args"]["exitCode"], code);
    assert!(of(&spans, "compile").iter().any(|span| span["args"]["failed"] == true), "{spans:?}");
    let metrics = read(&sandbox, "gimg.prom");
    for line in
        ["gimg_run_success{command=\"build\"} 0", &format!("gimg_run_exit_code{{command=\"build\"}} {code}")]
    {
        assert!(metrics.lines().any(|l| l == line), "{line}:\n{metrics}");
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_run_that_is_stopped_is_told_of_too() {
    let sandbox = endless();
    let child = start(&sandbox, "gimg build ./cmd/hello --platform linux/arm64 --trace trace.json");
    until("the compiler", || pids(&sandbox).len() == 2);
    send(&child, Signal::INT);
    let code = wait(child).code;
    let spans = spans(&sandbox);
    assert_eq!((code, &spans[0].1["args"]["exitCode"]), (130, &json!(130)));
    let compiles = of(&spans, "compile");
    assert!(compiles.len() == 1 && compiles[0]["args"]["failed"] == true, "{spans:?}");
}

#[test]
fn files_that_cannot_be_are_refused_before_anything_is_done() {
    for flag in ["--trace", "--metrics-file"] {
        let ran = hello().run_with(LINE, &["-o", "oci:out", flag, "cmd"]);
        let ran = ran.fails(9, &["it is a directory"]);
        assert!(!ran.stderr.contains("compil"), "{}", ran.stderr);
    }
}

/// A collector: it gives what it got, and answers as it is told to.
struct Collector {
    host: String,
    got: mpsc::Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start(status: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (sender, got) = mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                let Some(request) = receive(&stream) else { continue };
                let _ = sender.send(request);
                match status {
                    Some(status) => {
                        let _ = write!(
                            &stream,
                            "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        );
                    }
                    // Nothing is said, for as long as the test runs.
                    None => kept.push(stream),
                }
            }
        });
        Collector { host, got }
    }

    fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    fn next(&self) -> (String, Vec<u8>) {
        self.got.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

/// The head and the body of a request.
fn receive(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|n| *n > 0)?;
    }
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

#[test]
fn a_collector_gets_spans_as_the_variables_say() {
    let collector = Collector::start(Some(200));
    let sandbox = hello()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization=Bearer%20{SECRET}"))
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=blue")
        .env("OTEL_SERVICE_NAME", "ci")
        .env("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    sandbox.run_with(LINE, &["-o", "oci:out", "-v"]).ok();
    let (head, body) = collector.next();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let [resource] = request.resource_spans.try_into().unwrap();
    let attributes = resource.resource.unwrap().attributes;
    let attribute = |name: &str| {
        let found =
            attributes.iter().find(|a| a.key == name).unwrap_or_else(|| panic!("{name}: {attributes:?}"));
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(attribute("service.name"), Any::StringValue("ci".to_owned()));
    assert_eq!(attribute("team"), Any::StringValue("blue".to_owned()));
    let spans: Vec<Span> = resource.scope_spans.into_iter().flat_map(|scope| scope.spans).collect();
    let whole = spans.iter().find(|span| span.name == "gimg build").unwrap();
    assert_eq!(whole.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    for span in &spans {
        assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
        assert!(span.start_time_unix_nano >= whole.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= whole.end_time_unix_nano);
        assert!(span == whole || span.parent_span_id == whole.span_id);
    }
    for (name, count) in [("go list", 1), ("compile", 2), ("pack", 2), ("publish", 1)] {
        assert_eq!(spans.iter().filter(|span| span.name == name).count(), count, "{name}");
    }
    // Small commands are nobody's business, and whoever wants no trace gets none.
    sandbox.run("gimg version").ok();
    let off = sandbox.env("OTEL_SDK_DISABLED", "true");
    off.run_with(LINE, &["-o", "oci:out"]).ok();
    assert!(collector.got.try_recv().is_err());
}

#[test]
fn no_collector_fails_or_holds_up_a_build() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (refusing, silent) = (Collector::start(Some(401)), Collector::start(None));
    for (url, protocol, words) in [
        (format!("http://{nobody}"), "http/protobuf", "did not take it"),
        (refusing.url(), "http/protobuf", "did not take it"),
        (silent.url(), "http/protobuf", "it took longer than 300ms"),
        (refusing.url(), "grpc", "http/protobuf only"),
        ("collector:4317".to_owned(), "http/protobuf", "neither http:// nor https://"),
    ] {
        let sandbox = hello()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("key={SECRET}"))
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let ran = sandbox.run("gimg build ./cmd/hello -o oci:out").ok();
        assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
}

#[test]
#[ignore = "integration: OpenTelemetry's collector, Prometheus' node exporter"]
fn integration_the_real_ones_understand_it() {
    let collector = Server::start(|dir, port| {
        let config = format!(
            "yaml:receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
             exporters: {{debug: {{verbosity: detailed}}}}\n\
             service: {{pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}, telemetry: {{metrics: \
             {{level: none}}, logs: {{output_paths: [{0}/log], error_output_paths: [{0}/log]}}}}}}\n",
            dir.display()
        );
        let mut command = Command::new(tool("otelcol"));
        command.args(["--config", &config]);
        command
    });
    let sandbox = hello().env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.host()));
    let ran = sandbox.run_with(LINE, &["-o", "oci:out", "--metrics-file", "textfile/gimg.prom"]).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let end = Instant::now() + Duration::from_secs(10);
    let log = loop {
        let log = std::fs::read_to_string(collector.file("log")).unwrap_or_default();
        if log.contains("gimg build") || Instant::now() > end {
            break log;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    for name in ["gimg build", "go list", "compile", "pack", "publish"] {
        assert!(log.contains(&format!("Name           : {name}\n")), "{name}:\n{log}");
    }
    assert!(log.contains("service.name: Str(gimg)"), "{log}");

    let directory = sandbox.path("src/textfile");
    let exporter = Server::start(|_, port| {
        let mut command = Command::new(tool("node_exporter"));
        command.args(["--collector.disable-defaults", "--collector.textfile"]);
        command.arg(format!("--collector.textfile.directory={}", directory.display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
    });
    let mut stream = TcpStream::connect(exporter.host()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("\nnode_textfile_scrape_error 0\n"), "{page}");
    for line in
        read(&sandbox, "textfile/gimg.prom").lines().filter(|line| line.starts_with("gimg_run_success"))
    {
        assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
    }
    assert!(page.contains("gimg_run_success{command=\"build\"} 1"), "{page}");
}
