//! The cache: what is right stays, what is wrong goes, and nothing but a warning comes of any failure.
#![expect(clippy::disallowed_methods, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::*;
use crate::content::{BoxFuture, ByteStream, Source, verified};
use crate::oci::{Descriptor, Digest, MediaType, Reference, Repository};

/// Larger than what is kept in memory.
const LARGE: usize = (4 << 20) + 1000;

/// What was said.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn on(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Heard {
    fn warnings(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        heard
            .iter()
            .filter_map(|e| if let Event::Warning(text) = e { Some(text.clone()) } else { None })
            .collect()
    }

    fn heals(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let details =
            heard.iter().filter_map(|e| if let Event::Detail(text) = e { Some(text.clone()) } else { None });
        details.filter(|text| text.starts_with("cache heal: ")).collect()
    }
}

/// A registry with one content, that counts who asks.
struct Origin {
    content: Bytes,
    media_type: MediaType,
    resolved: AtomicUsize,
    fetched: AtomicUsize,
    /// Whether it checks what it gives, as a source must.
    honest: bool,
}

impl Origin {
    fn of(content: impl Into<Bytes>, media_type: MediaType) -> Arc<Self> {
        let (resolved, fetched) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Origin { content: content.into(), media_type, resolved, fetched, honest: true })
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type.clone(), &self.content)
    }
}

impl Source for Origin {
    fn resolve<'a>(&'a self, _: &'a Reference) -> BoxFuture<'a, Result<(Descriptor, Bytes)>> {
        self.resolved.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok((self.descriptor(), self.content.clone())) })
    }

    fn fetch<'a>(&'a self, _: &'a Repository, of: &'a Descriptor) -> BoxFuture<'a, Result<ByteStream>> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let pieces: Vec<Result<Bytes>> =
            self.content.chunks(1 << 20).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let stream = Box::pin(stream::iter(pieces));
        Box::pin(async { Ok(if self.honest { verified(stream, of) } else { stream }) })
    }
}

/// A cache directory, and what a process has of it.
struct Case {
    dir: tempfile::TempDir,
    heard: Arc<Heard>,
}

impl Case {
    fn new() -> Self {
        Case { dir: tempfile::tempdir().unwrap(), heard: Arc::default() }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn store(&self) -> Store {
        Store::at(self.root(), 1 << 30, Arc::clone(&self.heard) as _)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root().join("v1/blobs/sha256").join(digest.hex())
    }

    fn in_tmp(&self) -> usize {
        std::fs::read_dir(self.root().join("v1/tmp")).map_or(0, Iterator::count)
    }
}

fn repository() -> Repository {
    "r.example/base".parse().unwrap()
}

async fn all(mut stream: ByteStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// One run that fetches what `origin` has.
async fn run(case: &Case, origin: &Arc<Origin>) -> Vec<u8> {
    let store = case.store();
    let source = store.before(Arc::clone(origin) as _);
    let bytes = all(source.fetch(&repository(), &origin.descriptor()).await.unwrap()).await.unwrap();
    store.finish().await;
    bytes
}

fn contents() -> [Vec<u8>; 3] {
    let large = (0..LARGE).map(|i| u8::try_from(i % 251).unwrap()).collect();
    [Vec::new(), b"some bytes".to_vec(), large]
}

#[tokio::test]
async fn what_was_fetched_is_not_fetched_again() {
    for content in contents() {
        let (case, origin) = (Case::new(), Origin::of(content.clone(), MediaType::LAYER));
        for _ in 0..3 {
            assert!(run(&case, &origin).await == content);
        }
        let times = if content.is_empty() { 3 } else { 1 };
        assert_eq!(origin.fetched.load(Ordering::Relaxed), times, "{} bytes", content.len());
        assert_eq!(case.in_tmp(), 0);
        assert!(case.heard.warnings().is_empty() && case.heard.heals().is_empty());
        #[cfg(unix)]
        if !content.is_empty() {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            let blob = case.blob(&origin.descriptor().digest);
            assert_eq!(
                (mode(&blob), mode(&case.root()), mode(blob.parent().unwrap())),
                (0o400, 0o700, 0o700)
            );
        }
    }
}

#[tokio::test]
async fn a_tag_is_always_asked_for_and_a_digest_once() {
    for (media_type, field) in [
        (MediaType::DOCKER_MANIFEST, "layers"),
        (MediaType::MANIFEST, "layers"),
        (MediaType::INDEX, "manifests"),
    ] {
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","{field}":[]}}"#);
        let (case, origin) = (Case::new(), Origin::of(text, media_type));
        let tag: Reference = "r.example/base:v1".parse().unwrap();
        let digest = Reference { digest: Some(origin.descriptor().digest), tag: None, ..tag.clone() };
        for (reference, asked) in [(&tag, 1), (&tag, 2), (&digest, 2), (&digest, 2), (&tag, 3)] {
            let store = case.store();
            let (descriptor, bytes) =
                store.before(Arc::clone(&origin) as _).resolve(reference).await.unwrap();
            assert_eq!((descriptor, bytes), (origin.descriptor(), origin.content.clone()));
            store.finish().await;
            assert_eq!(origin.resolved.load(Ordering::Relaxed), asked, "{reference}");
        }
    }
}

#[tokio::test]
async fn a_document_that_does_not_say_what_it_is_is_always_asked_for() {
    let text = |t: &MediaType, fields: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{t}",{fields}}}"#);
    for (text, media_type) in [
        (text(&MediaType::MANIFEST, r#""layers":[],"manifests":[]"#), MediaType::MANIFEST),
        (text(&MediaType::INDEX, r#""layers":[]"#), MediaType::INDEX),
        (text(&MediaType::CONFIG, r#""layers":[]"#), MediaType::MANIFEST),
        (r#"{"schemaVersion":2,"layers":[]}"#.to_owned(), MediaType::DOCKER_MANIFEST),
        (r#"{"schemaVersion":2,"layers":[]}"#.to_owned(), MediaType::MANIFEST),
        (r#"{"schemaVersion":1,"layers":[]}"#.to_owned(), MediaType::MANIFEST),
        (r#"{"layers":[]}"#.to_owned(), MediaType::MANIFEST),
        ("no JSON".to_owned(), MediaType::MANIFEST),
    ] {
        let (case, origin) = (Case::new(), Origin::of(text.clone(), media_type));
        let reference: Reference = "r.example/base:v1".parse().unwrap();
        let reference = Reference { digest: Some(origin.descriptor().digest), tag: None, ..reference };
        // Also if it came in as something else.
        let store = case.store();
        let source = store.before(Arc::clone(&origin) as _);
        all(source.fetch(&repository(), &origin.descriptor()).await.unwrap()).await.unwrap();
        store.finish().await;
        for asked in 1..3 {
            source.resolve(&reference).await.unwrap();
            assert_eq!(origin.resolved.load(Ordering::Relaxed), asked, "{text}");
        }
    }
}

/// A way to spoil an entry, and what it is called.
type Damage = (&'static str, fn(&Path));

#[cfg(unix)]
fn damages() -> Vec<Damage> {
    use std::os::unix::fs::PermissionsExt as _;
    fn replace(path: &Path, bytes: &[u8]) {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    vec![
        ("truncated", |path| {
            let bytes = std::fs::read(path).unwrap();
            replace(path, &bytes[..bytes.len() - 1]);
        }),
        ("empty", |path| replace(path, b"")),
        ("longer", |path| {
            let bytes = std::fs::read(path).unwrap();
            replace(path, &[&bytes[..], b"!"].concat());
        }),
        ("first bit", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[0] ^= 1;
            replace(path, &bytes);
        }),
        ("last bit", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 0x80;
            replace(path, &bytes);
        }),
        ("link to a file with other bytes", |path| {
            let other = path.with_file_name("other");
            std::fs::write(&other, "secret").unwrap();
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(other, path).unwrap();
        }),
        ("link to the same bytes", |path| {
            let other = path.with_file_name("other");
            std::fs::rename(path, &other).unwrap();
            std::os::unix::fs::symlink(other, path).unwrap();
        }),
        ("link to nothing", |path| {
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("nothing", path).unwrap();
        }),
        ("directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
        }),
        ("pipe", |path| {
            std::fs::remove_file(path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }),
        ("socket", |path| {
            std::fs::remove_file(path).unwrap();
            // Its path may be too long for the call.
            let short = tempfile::tempdir().unwrap();
            let _listens = std::os::unix::net::UnixListener::bind(short.path().join("s")).unwrap();
            if std::fs::rename(short.path().join("s"), path).is_err() {
                std::fs::create_dir(path).unwrap();
            }
        }),
        ("file that may not be read", |path| {
            replace(path, b"other");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
        }),
    ]
}

#[cfg(unix)]
#[tokio::test]
async fn every_damage_is_healed() {
    for content in &contents()[1..] {
        let (case, origin) = (Case::new(), Origin::of(content.clone(), MediaType::LAYER));
        let blob = case.blob(&origin.descriptor().digest);
        run(&case, &origin).await;
        for (number, (what, damage)) in damages().into_iter().enumerate() {
            damage(&blob);
            for _ in 0..2 {
                assert!(run(&case, &origin).await == *content, "{what}");
            }
            assert_eq!(origin.fetched.load(Ordering::Relaxed), number + 2, "{what}");
            assert_eq!(case.heard.heals().len(), number + 1, "{what}: {:?}", case.heard.heals());
            assert!(std::fs::symlink_metadata(&blob).unwrap().is_file(), "{what}");
            assert!(std::fs::read(&blob).unwrap() == *content, "{what}");
            assert_eq!(case.in_tmp(), 0, "{what}");
            // What a link led to is nobody's business.
            let _ = std::fs::remove_file(blob.with_file_name("other"));
            assert_eq!(case.store().verify().unwrap().wrong, [], "{what}");
        }
        assert_eq!(case.heard.warnings(), Vec::<String>::new());
    }
}

#[cfg(unix)]
#[test]
fn verifying_finds_and_removes_every_damage() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (what, damage) in damages() {
        let (case, origin) = (Case::new(), Origin::of("some bytes", MediaType::LAYER));
        let other = Origin::of("other bytes", MediaType::LAYER);
        runtime.block_on(run(&case, &origin));
        runtime.block_on(run(&case, &other));
        let blob = case.blob(&origin.descriptor().digest);
        damage(&blob);
        let verified = case.store().verify().unwrap();
        let mut wrong: Vec<&str> = verified.wrong.iter().map(|(name, _)| name.as_str()).collect();
        wrong.retain(|name| *name != "other");
        assert_eq!(wrong, [origin.descriptor().digest.hex()], "{what}");
        assert_eq!(verified.right, Amount { files: 1, bytes: 11 }, "{what}");
        assert!(std::fs::symlink_metadata(&blob).is_err() && case.blob(&other.descriptor().digest).exists());
        assert_eq!(case.store().verify().unwrap(), Verified { right: verified.right, wrong: Vec::new() });
    }
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_gets_no_name() {
    for content in ["right", "wrong", "longer than it should be"] {
        let case = Case::new();
        let origin = Arc::new(Origin {
            content: Bytes::from_static(content.as_bytes()),
            media_type: MediaType::LAYER,
            resolved: AtomicUsize::new(0),
            fetched: AtomicUsize::new(0),
            honest: false,
        });
        let descriptor = Descriptor::of(MediaType::LAYER, b"right");
        let store = case.store();
        let source = store.before(Arc::clone(&origin) as _);
        all(source.fetch(&repository(), &descriptor).await.unwrap()).await.unwrap();
        store.finish().await;
        assert_eq!(case.blob(&descriptor.digest).exists(), content == "right");
        assert_eq!(case.store().amount().unwrap().files, u64::from(content == "right"));
        assert_eq!(case.in_tmp(), 0);
        assert!(case.heard.warnings().is_empty());
    }
}

#[tokio::test]
async fn who_stops_reading_leaves_nothing_and_who_stops_at_the_last_byte_leaves_all() {
    let large = &contents()[2];
    let (case, origin) = (Case::new(), Origin::of(large.clone(), MediaType::LAYER));
    let store = case.store();
    let source = store.before(Arc::clone(&origin) as _);
    let mut stream = source.fetch(&repository(), &origin.descriptor()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    store.finish().await;
    drop(store);
    assert_eq!((case.in_tmp(), case.store().amount().unwrap().files), (0, 0));

    let store = case.store();
    let source = store.before(Arc::clone(&origin) as _);
    let mut stream = source.fetch(&repository(), &origin.descriptor()).await.unwrap();
    let mut seen = 0;
    while seen < LARGE {
        seen += stream.next().await.unwrap().unwrap().len();
    }
    // The stream is never asked for its end, and stays.
    store.finish().await;
    assert_eq!((case.in_tmp(), case.store().amount().unwrap().files), (0, 1));
    drop(stream);
}

#[tokio::test]
async fn a_descriptor_that_lies_about_the_size_spoils_nothing() {
    let (case, origin) = (Case::new(), Origin::of("some bytes", MediaType::LAYER));
    run(&case, &origin).await;
    let store = case.store();
    let source = store.before(Arc::clone(&origin) as _);
    for size in [0, 9, 11, 1 << 40] {
        let lie = Descriptor { size, ..origin.descriptor() };
        let read = all(source.fetch(&repository(), &lie).await.unwrap()).await;
        assert_eq!(read.unwrap_err().kind(), Kind::Integrity);
        store.finish().await;
        assert!(case.blob(&lie.digest).exists() && case.heard.heals().is_empty());
    }
    assert_eq!(
        origin.fetched.load(Ordering::Relaxed),
        5,
        "the registry is asked, and its answer is what counts"
    );
}

#[tokio::test]
async fn what_another_process_puts_in_place_of_a_wrong_entry_stays() {
    let (case, origin) = (Case::new(), Origin::of("some bytes", MediaType::LAYER));
    run(&case, &origin).await;
    let blob = case.blob(&origin.descriptor().digest);
    let store = case.store();
    let blobs = store.0.blobs(false).unwrap().unwrap();
    let name = std::ffi::OsString::from(origin.descriptor().digest.hex());
    let was = blobs.look(&name).unwrap().identity;
    // A copy, renamed into place.
    std::fs::copy(&blob, case.dir.path().join("copy")).unwrap();
    std::fs::rename(case.dir.path().join("copy"), &blob).unwrap();
    assert!(!store.0.discard(blobs, &name, Some(was)).unwrap());
    assert_eq!(std::fs::read(&blob).unwrap(), b"some bytes");
    let is = blobs.look(&name).unwrap().identity;
    assert!(store.0.discard(blobs, &name, Some(is)).unwrap() && !blob.exists());
    assert!(!store.0.discard(blobs, &name, Some(is)).unwrap(), "it is gone already");
}

#[tokio::test]
async fn what_was_used_last_stays_and_readers_read_to_the_end() {
    let case = Case::new();
    let origins: Vec<_> = (0..5).map(|n| Origin::of(vec![n; 5 << 20], MediaType::LAYER)).collect();
    for origin in &origins {
        run(&case, origin).await;
    }
    let old = |n: usize, seconds| {
        let file = std::fs::File::open(case.blob(&origins[n].descriptor().digest)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    (0..5).for_each(|n| old(n, 1000 + n as u64));
    run(&case, &origins[0]).await;
    assert_eq!(origins[0].fetched.load(Ordering::Relaxed), 1);
    // Reading it now, as another process.
    let reader = case.store().before(Arc::clone(&origins[1]) as _);
    let open = reader.fetch(&repository(), &origins[1].descriptor()).await.unwrap();
    old(1, 1);
    let pruned = case.store().prune(11 << 20).unwrap();
    assert_eq!(pruned.removed, Amount { files: 3, bytes: 15 << 20 });
    assert_eq!(pruned.kept, Amount { files: 2, bytes: 10 << 20 });
    let left: Vec<bool> = origins.iter().map(|o| case.blob(&o.descriptor().digest).exists()).collect();
    assert_eq!(left, [true, false, false, false, true], "the one used just now, and the latest");
    assert!(all(open).await.unwrap() == vec![1; 5 << 20], "a reader isn't disturbed");
    assert!(run(&case, &origins[1]).await == vec![1; 5 << 20]);
    assert_eq!(origins[1].fetched.load(Ordering::Relaxed), 2, "and it is fetched again");
    assert_eq!(case.store().prune(0).unwrap().kept, Amount::default());
    assert_eq!(case.store().amount().unwrap(), Amount::default());
}

#[tokio::test]
async fn a_run_ends_below_the_limit() {
    let case = Case::new();
    let origins: Vec<_> = (0..4).map(|n| Origin::of(vec![n; 1000], MediaType::LAYER)).collect();
    for (max, kept) in [(2500, 2), (999, 0), (0, 0), (4000, 4)] {
        for origin in &origins {
            let store = Store::at(case.root(), max, Arc::clone(&case.heard) as _);
            let source = store.before(Arc::clone(origin) as _);
            all(source.fetch(&repository(), &origin.descriptor()).await.unwrap()).await.unwrap();
            store.finish().await;
        }
        // What is larger than the limit is never stored, and so nothing is pruned.
        let kept = if max < 1000 { 2 } else { kept };
        assert_eq!(case.store().amount().unwrap().files, kept, "{max}");
    }
    assert_eq!(case.heard.warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn the_rest_of_killed_processes_is_swept_and_nothing_else() {
    let (case, origin) = (Case::new(), Origin::of("some bytes", MediaType::LAYER));
    run(&case, &origin).await;
    let tmp = case.root().join("v1/tmp");
    std::fs::write(tmp.join("1-dead"), "half").unwrap();
    std::fs::create_dir_all(tmp.join("2-dead/below")).unwrap();
    let alive = blobs::Writer::begin(&case.store().0).unwrap().unwrap();
    let store = case.store();
    let (held, free) = (store.lock("held").await.unwrap(), store.lock("free").await.unwrap());
    drop(free);
    store.prune(u64::MAX).unwrap();
    assert_eq!(case.in_tmp(), 1, "what is being written stays");
    let locks = std::fs::read_dir(case.root().join("v1/lock")).unwrap().count();
    assert_eq!(locks, 2, "the one that is held, and that of pruning");
    drop((alive, held));
    assert_eq!(case.in_tmp(), 0);
}

#[tokio::test]
async fn without_a_place_content_comes_from_the_registry_with_one_warning() {
    let case = Case::new();
    std::fs::write(case.root(), "a file").unwrap();
    let origin = Origin::of("some bytes", MediaType::LAYER);
    for store in [
        Store::at(case.root(), u64::MAX, Arc::clone(&case.heard) as _),
        Store::at(case.root().join("below"), u64::MAX, Arc::clone(&case.heard) as _),
        Store::unknown(Arc::clone(&case.heard) as _),
        Store::off(Arc::clone(&case.heard) as _),
    ] {
        let is_off = store.0.place == Place::Off;
        for _ in 0..2 {
            let source = store.before(Arc::clone(&origin) as _);
            let read = all(source.fetch(&repository(), &origin.descriptor()).await.unwrap()).await;
            assert_eq!(read.unwrap(), b"some bytes");
        }
        store.finish().await;
        assert_eq!(case.heard.0.lock().unwrap().drain(..).count(), usize::from(!is_off));
    }
    assert_eq!(origin.fetched.load(Ordering::Relaxed), 8);
}
