//! What a build does to find out that nothing changed: the memo's snapshot is read, and every path is looked at.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use divan::counter::ItemsCount;
use gimg::fs::{Ask, Check, Looker, Moment, Paths, Snapshot};

const FILES: usize = 5000;

/// A project of 5,000 sources, ten in a package, and what was there; kept until the end.
fn project() -> &'static (tempfile::TempDir, Snapshot) {
    static PROJECT: OnceLock<(tempfile::TempDir, Snapshot)> = OnceLock::new();
    PROJECT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Paths::new();
        for package in 0..FILES / 10 {
            let package = dir.path().join(format!("internal/module{}/package{package}", package % 20));
            std::fs::create_dir_all(&package).unwrap();
            for n in 0..10 {
                let path = package.join(format!("source{n}.go"));
                std::fs::write(&path, format!("package p\n\nconst n{n} = {n}\n")).unwrap();
                paths.add(path, Ask::Source);
            }
            paths.add(package.join("go.mod"), Ask::Bytes);
            paths.add(package, Ask::Sources);
        }
        // What was written just now would be read again each time.
        std::thread::sleep(Duration::from_millis(2100));
        let snapshot = Snapshot::take(&paths, Moment::now(), &Looker::new()).unwrap();
        (dir, snapshot)
    })
}

#[divan::bench]
fn check(bencher: divan::Bencher<'_, '_>) {
    let (_, snapshot) = project();
    bencher.counter(ItemsCount::new(FILES)).bench(|| {
        assert_eq!(snapshot.check(&Looker::new()), Check::Same(None));
    });
}

/// The same where every file is read, as after a checkout.
#[divan::bench(sample_count = 10)]
fn take(bencher: divan::Bencher<'_, '_>) {
    let paths = project().1.paths();
    bencher
        .counter(ItemsCount::new(FILES))
        .bench(|| Snapshot::take(divan::black_box(&paths), Moment::now(), &Looker::new()).unwrap());
}

#[divan::bench]
fn read_the_memo(bencher: divan::Bencher<'_, '_>) {
    let json = serde_json::to_vec(&project().1).unwrap();
    bencher
        .counter(ItemsCount::new(FILES))
        .bench(|| serde_json::from_slice::<Snapshot>(divan::black_box(&json)).unwrap());
}

/// Nothing but the system's answer about each path, on one thread: what `check` can't be faster than.
#[divan::bench]
fn stat_alone(bencher: divan::Bencher<'_, '_>) {
    let paths = project().1.paths();
    let list: Vec<&Path> = paths.iter().map(|(path, _)| path).collect();
    bencher
        .counter(ItemsCount::new(FILES))
        .bench(|| list.iter().filter(|path| std::fs::symlink_metadata(path).is_ok()).count());
}
