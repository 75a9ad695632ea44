//! A container engine in this process: it speaks what gimg uses of the Docker Engine API on a Unix socket, takes only
//! images that are whole, writes down what it is asked, and fails on request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::sha256;

/// What goes wrong with the next load.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// It is refused with this status and message.
    Refused(u16, &'static str),
    /// The answer begins well and then carries this error.
    Late(&'static str),
    /// The connection is closed after so many bytes of the image.
    HangsUp(usize),
    /// The image is taken, and the connection closed in the middle of the answer.
    BreaksOff,
}

/// An image that was loaded.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Every file of the tar, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Its config.
    pub(crate) config: Value,
}

#[derive(Default)]
struct State {
    /// By the config's digest.
    images: BTreeMap<String, Loaded>,
    /// Names with tags, and the config's digest that they mean.
    names: BTreeMap<String, String>,
    log: Vec<String>,
    trouble: Option<Trouble>,
}

/// A running engine; it is stopped when dropped.
pub(crate) struct FakeEngine {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeEngine {
    /// An engine on a machine that the kernel calls `machine`.
    pub(crate) fn start(machine: &'static str) -> Self {
        // Not the sandbox's folder: the path of a socket is at most 107 bytes long.
        let dir = tempfile::Builder::new().prefix("engine-").tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let state: Arc<Mutex<State>> = Arc::default();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let serving = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, serving, machine) => {}
                    _ = stopped => {}
                }
            });
        });
        FakeEngine { socket, state, stop: Some(stop), thread: Some(thread), _dir: dir }
    }

    /// `unix://` and the socket's path.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Lets the next load go wrong.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        locked(&self.state).trouble = Some(trouble);
    }

    /// Names with tags, and the config's digest that they mean.
    pub(crate) fn names(&self) -> BTreeMap<String, String> {
        locked(&self.state).names.clone()
    }

    /// The image that a name means.
    pub(crate) fn image(&self, name: &str) -> Loaded {
        let state = locked(&self.state);
        state.images[&state.names[name]].clone()
    }

    /// Every image that has a name.
    pub(crate) fn images(&self) -> Vec<Loaded> {
        let state = locked(&self.state);
        let ids: std::collections::BTreeSet<&String> = state.names.values().collect();
        ids.into_iter().map(|id| state.images[id].clone()).collect()
    }

    /// How many images it has.
    pub(crate) fn count(&self) -> usize {
        locked(&self.state).images.len()
    }

    /// How many requests began with this method and path.
    pub(crate) fn asked(&self, start: &str) -> usize {
        locked(&self.state).log.iter().filter(|line| line.starts_with(start)).count()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: UnixListener, state: Arc<Mutex<State>>, machine: &'static str) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&state), machine));
            let http = hyper::server::conn::http1::Builder::new();
            // Troubles end connections with an error; so do clients that go away.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Reply = hyper::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>;

fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    let never = |e: Infallible| match e {};
    let body = Full::new(body.into()).map_err(never).boxed_unsync();
    hyper::Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn message(status: u16, text: &str) -> Reply {
    reply(status, json!({ "message": text }).to_string())
}

async fn answer(
    request: hyper::Request<Incoming>,
    state: Arc<Mutex<State>>,
    machine: &'static str,
) -> Result<Reply, std::io::Error> {
    let (head, body) = request.into_parts();
    // Clients may name the version that they speak; gimg doesn't, ko does.
    let path = head.uri.path();
    let versionless = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    let path = versionless.unwrap_or(path).to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    locked(&state).log.push(format!("{} {path}", head.method));
    let image = path.strip_prefix("/images/");
    match (head.method.as_str(), path.as_str(), image) {
        (_, "/_ping", _) => {
            let mut pong = reply(200, "OK");
            pong.headers_mut().insert("api-version", "1.44".parse().unwrap());
            Ok(pong)
        }
        ("GET", "/info", _) => {
            Ok(reply(200, json!({"OSType": "linux", "Architecture": machine}).to_string()))
        }
        ("POST", "/images/load", _) => load(body, &state).await,
        ("GET", _, Some(rest)) if rest.ends_with("/json") => {
            let id = find(&state, rest.trim_end_matches("/json"));
            Ok(id.map_or(message(404, "no such image"), |id| reply(200, json!({"Id": id}).to_string())))
        }
        ("GET", _, Some(rest)) if rest.ends_with("/get") => {
            let id = find(&state, rest.trim_end_matches("/get"));
            Ok(id.map_or(message(404, "no such image"), |id| reply(200, saved(&locked(&state).images[&id]))))
        }
        ("POST", _, Some(rest)) if rest.ends_with("/tag") => {
            let Some(id) = find(&state, rest.trim_end_matches("/tag")) else {
                return Ok(message(404, "no such image"));
            };
            let value = |key: &str| {
                let value = query.split('&').find_map(|p| p.strip_prefix(&format!("{key}="))).unwrap();
                value.replace("%2F", "/").replace("%3A", ":")
            };
            locked(&state).names.insert(format!("{}:{}", value("repo"), value("tag")), id);
            Ok(reply(201, ""))
        }
        _ => Ok(message(404, "page not found")),
    }
}

/// The tar of an image, as it was loaded.
fn saved(image: &Loaded) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in &image.files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The config's digest of an image by that or by a name.
fn find(state: &Mutex<State>, name: &str) -> Option<String> {
    let state = locked(state);
    if state.images.contains_key(name) { Some(name.to_owned()) } else { state.names.get(name).cloned() }
}

async fn load(mut body: Incoming, state: &Mutex<State>) -> Result<Reply, std::io::Error> {
    let trouble = locked(state).trouble.take();
    let hung_up = || Err(std::io::Error::other("trouble"));
    if let Some(Trouble::Refused(status, why)) = trouble {
        // Go's server reads on for a while before it closes, lest the answer be lost.
        while let Some(Ok(_)) = body.frame().await {}
        return Ok(message(status, why));
    }
    let mut tar = Vec::new();
    loop {
        match body.frame().await {
            None => break,
            // What dockerd says when its client goes away: nothing is kept.
            Some(Err(_)) => return Ok(reply(200, json!({"error": "unexpected EOF"}).to_string())),
            Some(Ok(frame)) => tar.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
        if matches!(trouble, Some(Trouble::HangsUp(limit)) if tar.len() > limit) {
            return hung_up();
        }
    }
    if let Some(Trouble::Late(why)) = trouble {
        let first = json!({"status": "Loading layer", "progressDetail": {"current": 1, "total": 2}});
        let last = json!({"errorDetail": {"message": why}, "error": why});
        return Ok(reply(200, format!("{first}\r\n{last}\r\n")));
    }
    let (id, loaded, names) = match unpacked(&tar) {
        Ok(unpacked) => unpacked,
        Err(why) => return Ok(reply(200, json!({"error": why, "errorDetail": {}}).to_string())),
    };
    let said = names.iter().map(|n| json!({"stream": format!("Loaded image: {n}\n")}).to_string());
    let said = said.collect::<Vec<_>>().join("\r\n");
    {
        let mut state = locked(state);
        state.images.insert(id.clone(), loaded);
        for name in names {
            state.names.insert(name, id.clone());
        }
    }
    if let Some(Trouble::BreaksOff) = trouble {
        let pieces = futures_util::stream::iter([
            Ok(hyper::body::Frame::data(Bytes::from(said))),
            Err(std::io::Error::other("trouble")),
        ]);
        let body = http_body_util::StreamBody::new(pieces).boxed_unsync();
        return Ok(hyper::Response::builder().status(200).body(body).unwrap());
    }
    Ok(reply(200, said))
}

/// The files of a tar; one that ends early is an error.
pub(crate) fn files(tar: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let (mut archive, mut files) = (tar::Archive::new(tar), BTreeMap::new());
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|e| e.to_string())?;
        if files.insert(name.clone(), content).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    if !tar.ends_with(&[0; 1024]) {
        return Err("unexpected EOF".to_owned());
    }
    Ok(files)
}

fn json_of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Value, String> {
    let bytes = files.get(name).ok_or_else(|| format!("no {name}"))?;
    serde_json::from_slice(bytes).map_err(|e| format!("{name}: {e}"))
}

/// An image from a tar of either kind, checked to the last byte: the config's digest, the image, its names.
pub(crate) fn unpacked(tar: &[u8]) -> Result<(String, Loaded, Vec<String>), String> {
    let files = files(tar)?;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (config_name, layer_names, names) = if files.contains_key("manifest.json") {
        let items = json_of(&files, "manifest.json")?;
        let [item] = items.as_array().unwrap().as_slice() else { return Err("several images".to_owned()) };
        let list = |key: &str| item[key].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
        let config = text(&item["Config"]);
        // ko calls it by its digest.
        let hex = config.strip_suffix(".json").or(config.strip_prefix("sha256:")).unwrap().to_owned();
        if sha256(&files[&config]) != hex {
            return Err("the config isn't what its name says".to_owned());
        }
        (config, list("Layers"), list("RepoTags"))
    } else {
        let blob = |d: &Value| format!("blobs/{}", text(&d["digest"]).replace(':', "/"));
        for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
            if format!("blobs/sha256/{}", sha256(bytes)) != **name {
                return Err(format!("{name} isn't what its name says"));
            }
        }
        json_of(&files, "oci-layout")?;
        let index = json_of(&files, "index.json")?;
        let [entry] = index["manifests"].as_array().unwrap().as_slice() else {
            return Err("several images".to_owned());
        };
        let annotations = &entry["annotations"];
        let name = text(&annotations["org.opencontainers.image.ref.name"]);
        assert_eq!(annotations["io.containerd.image.name"], name, "podman's name is containerd's");
        let manifest = json_of(&files, &blob(entry))?;
        let layers = manifest["layers"].as_array().unwrap().iter().map(blob).collect();
        (blob(&manifest["config"]), layers, vec![name])
    };
    let config = json_of(&files, &config_name)?;
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    if ids.len() != layer_names.len() {
        return Err("layers and diff_ids differ in number".to_owned());
    }
    for (name, id) in layer_names.iter().zip(ids) {
        let bytes = files.get(name).ok_or_else(|| format!("no {name}"))?;
        let mut tar = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).map_err(|e| e.to_string())?;
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            tar = zstd::decode_all(&bytes[..]).map_err(|e| e.to_string())?;
        } else {
            tar.clone_from(bytes);
        }
        if format!("sha256:{}", sha256(&tar)) != *id {
            return Err(format!("invalid diffID for layer {name}"));
        }
    }
    let id = format!("sha256:{}", sha256(&files[&config_name]));
    Ok((id, Loaded { files, config }, names))
}
