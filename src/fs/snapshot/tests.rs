//! What a snapshot sees and what it doesn't.
#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// A directory whose files were all changed long enough ago.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.at("dir")).unwrap();
        std::fs::write(place.at("dir/a.go"), "a").unwrap();
        std::fs::write(place.at("dir/b.txt"), "b").unwrap();
        symlink("a.go", place.at("dir/link.go")).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn paths(&self) -> Paths {
        let asks = [
            ("dir", Ask::Sources),
            ("dir/a.go", Ask::Bytes),
            ("dir/link.go", Ask::Bytes),
            ("dir/b.txt", Ask::Bytes),
            ("go.work", Ask::Bytes),
        ];
        let mut paths = Paths::new();
        asks.into_iter().for_each(|(name, ask)| paths.add(self.at(name), ask));
        paths
    }

    /// As if what it is for had begun long after the last change.
    fn take(&self) -> Snapshot {
        Snapshot::take(&self.paths(), later(), &Looker::new()).unwrap()
    }
}

fn later() -> Moment {
    Moment(now() + 60_000_000_000)
}

fn is_same(snapshot: &Snapshot) -> bool {
    matches!(snapshot.check(&Looker::new()), Check::Same(_))
}

#[test]
fn every_change_that_matters_is_seen() {
    type Change = (&'static str, fn(&Place));
    let changes: &[Change] = &[
        ("bytes", |p| std::fs::write(p.at("dir/a.go"), "x").unwrap()),
        ("bytes behind a link", |p| std::fs::write(p.at("dir/a.go"), "longer").unwrap()),
        ("gone", |p| std::fs::remove_file(p.at("dir/b.txt")).unwrap()),
        ("a new source", |p| std::fs::write(p.at("dir/c.go"), "").unwrap()),
        ("a link elsewhere", |p| {
            std::fs::remove_file(p.at("dir/link.go")).unwrap();
            symlink("b.txt", p.at("dir/link.go")).unwrap();
        }),
        ("a link in place of a file", |p| {
            std::fs::rename(p.at("dir/b.txt"), p.at("other")).unwrap();
            symlink(p.at("other"), p.at("dir/b.txt")).unwrap();
        }),
        ("what was absent", |p| std::fs::write(p.at("go.work"), "").unwrap()),
        ("a directory in place of nothing", |p| std::fs::create_dir(p.at("go.work")).unwrap()),
        ("another mode", |p| {
            std::fs::set_permissions(p.at("dir/a.go"), std::fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("unreadable", |p| {
            std::fs::remove_file(p.at("dir/a.go")).unwrap();
            symlink("a.go", p.at("dir/a.go")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let place = Place::new();
        let snapshot = place.take();
        assert!(is_same(&snapshot), "before: {name}");
        change(&place);
        assert!(!is_same(&snapshot), "{name}");
    }
}

#[test]
fn the_same_under_other_stamps_is_the_same() {
    let place = Place::new();
    let snapshot = place.take();
    std::fs::write(place.at("new"), "a").unwrap();
    std::fs::rename(place.at("new"), place.at("dir/a.go")).unwrap();
    std::fs::write(place.at("dir/README.md"), "no source").unwrap();
    let Check::Same(Some(fresh)) = snapshot.check(&Looker::new()) else { panic!("it is the same") };
    assert_ne!(fresh, snapshot);
    assert!(is_same(&fresh));
}

#[test]
fn an_edit_of_the_same_size_with_its_time_set_back_is_seen() {
    let place = Place::new();
    let times = std::fs::metadata(place.at("dir/a.go")).unwrap().modified().unwrap();
    let snapshot = place.take();
    std::fs::write(place.at("dir/a.go"), "x").unwrap();
    let file = std::fs::File::options().write(true).open(place.at("dir/a.go")).unwrap();
    file.set_modified(times).unwrap();
    assert!(!is_same(&snapshot));
}

#[test]
fn edits_within_a_tick_of_the_clock_are_seen() {
    // Many at once: some fall into one tick with the look at them.
    for round in 0..200_u8 {
        let place = Place::new();
        let snapshot = place.take();
        let other = if round % 2 == 0 { "y" } else { "z" };
        std::fs::write(place.at("dir/a.go"), other).unwrap();
        assert!(!is_same(&snapshot));
    }
}

#[test]
fn what_changed_shortly_before_is_only_taken_if_it_was_seen_before() {
    let place = Place::new();
    let now = Moment::now();
    let doubt = Snapshot::take(&place.paths(), now, &Looker::new()).unwrap_err();
    assert!(doubt.why.contains("shortly before"), "{doubt:?}");
    let before = Looker::new();
    place.paths().iter().for_each(|(path, ask)| before.see(path, ask));
    assert!(Snapshot::take(&place.paths(), now, &before).is_ok());
    std::fs::write(place.at("dir/a.go"), "x").unwrap();
    let doubt = Snapshot::take(&place.paths(), now, &before).unwrap_err();
    assert_eq!((doubt.path, doubt.why), (place.at("dir/a.go"), "it changed meanwhile"));
}

#[test]
fn a_check_sees_all_paths_also_after_a_change() {
    let place = Place::new();
    let snapshot = place.take();
    assert_eq!(snapshot.paths(), place.paths());
    std::fs::write(place.at("dir/a.go"), "x").unwrap();
    let looker = Looker::new();
    let path = place.at("dir/a.go");
    assert_eq!(snapshot.check(&looker), Check::Changed { path, same_paths: false });
    // What was changed before the check is known now: the next result can be remembered.
    assert!(Snapshot::take(&place.paths(), Moment::now(), &looker).is_ok());
}

#[test]
fn changes_within_sources_leave_the_paths_as_they_are() {
    let place = Place::new();
    let source = |text: &str| std::fs::write(place.at("dir/a.go"), text).unwrap();
    source("package a\n\nimport \"fmt\"\n\nfunc f() { fmt.Println(1) }\n");
    let mut paths = place.paths();
    paths.add(place.at("dir/a.go"), Ask::Source);
    let snapshot = Snapshot::take(&paths, later(), &Looker::new()).unwrap();
    let same_paths = || match snapshot.check(&Looker::new()) {
        Check::Changed { same_paths, .. } => same_paths,
        Check::Same(_) => panic!("it changed"),
    };
    source("package a\n\nimport \"fmt\"\n\nfunc f() { fmt.Println(2) }\n");
    // The link to it was asked for its bytes alone.
    assert!(!same_paths());
    paths.add(place.at("dir/link.go"), Ask::Source);
    let snapshot = Snapshot::take(&paths, later(), &Looker::new()).unwrap();
    let same_paths = || match snapshot.check(&Looker::new()) {
        Check::Changed { same_paths, .. } => same_paths,
        Check::Same(_) => panic!("it changed"),
    };
    source("package a\n\nimport \"fmt\"\n\nfunc f() { fmt.Println(3) }\n");
    assert!(same_paths());
    source("package a\n\nimport \"os\"\n\nfunc f() { fmt.Println(3) }\n");
    assert!(!same_paths());
    // Who asks for heads sees no change at all.
    let mut heads = Paths::new();
    heads.add(place.at("dir/a.go"), Ask::Head);
    let snapshot = Snapshot::take(&heads, later(), &Looker::new()).unwrap();
    source("package a\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n");
    assert!(is_same(&snapshot));
}

#[test]
fn it_is_the_same_after_writing_and_reading() {
    let place = Place::new();
    let snapshot = place.take();
    let text = serde_json::to_vec(&snapshot).unwrap();
    assert_eq!(serde_json::from_slice::<Snapshot>(&text).unwrap(), snapshot);
}

#[test]
fn another_machine_has_the_same_in_other_places() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut paths = Paths::new();
    for dir in [one.path(), other.path()] {
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        std::fs::write(dir.join("a/b/x.go"), "package b\n").unwrap();
        std::fs::write(dir.join("a/y.txt"), "y").unwrap();
    }
    for (path, ask) in
        [("a", Ask::Tree), ("a/b/x.go", Ask::Source), ("a/y.txt", Ask::Bytes), ("gone", Ask::Bytes)]
    {
        paths.add(one.path().join(path), ask);
    }
    let before = Looker::new();
    paths.iter().for_each(|(path, ask)| before.see(path, ask));
    let taken = Snapshot::take(&paths, Moment::now(), &before).unwrap();
    let named = |root: &Path, path: &Path| match path.strip_prefix(root).unwrap().to_str().unwrap() {
        "gone" => Away::Absent,
        name => Away::As(format!("x:{name}")),
    };
    let away = taken.away(|path| named(one.path(), path)).unwrap();
    let text = serde_json::to_string(&away).unwrap();
    assert!(!text.contains(one.path().to_str().unwrap()), "{text}");
    let home = |away: &Snapshot| {
        away.home(|name| Some(other.path().join(name.strip_prefix("x:").unwrap()))).unwrap()
    };
    assert!(matches!(home(&away).check(&Looker::new()), Check::Same(_)));
    // Whoever looks there tells the same.
    let same = home(&away).away(|path| named(other.path(), path)).unwrap();
    assert_eq!(same, away);
    std::fs::write(other.path().join("a/y.txt"), "z").unwrap();
    let Check::Changed { path, .. } = home(&away).check(&Looker::new()) else { panic!("it changed") };
    assert_eq!(path, other.path().join("a/y.txt"));
    // What must not be there is, or a link leads away.
    std::fs::write(one.path().join("gone"), "").unwrap();
    let taken = Snapshot::take(&paths, Moment::now(), &Looker::new());
    assert!(taken.is_err());
    let seen = Looker::new();
    paths.iter().for_each(|(path, ask)| seen.see(path, ask));
    let taken = Snapshot::take(&paths, Moment::now(), &seen).unwrap();
    assert_eq!(taken.away(|path| named(one.path(), path)), Err(one.path().join("gone")));
    std::fs::remove_file(one.path().join("gone")).unwrap();
    std::fs::remove_file(one.path().join("a/y.txt")).unwrap();
    std::os::unix::fs::symlink(other.path().join("a/y.txt"), one.path().join("a/y.txt")).unwrap();
    let seen = Looker::new();
    paths.iter().for_each(|(path, ask)| seen.see(path, ask));
    let taken = Snapshot::take(&paths, Moment::now(), &seen).unwrap();
    assert_eq!(taken.away(|path| named(one.path(), path)), Err(one.path().join("a/y.txt")));
}
