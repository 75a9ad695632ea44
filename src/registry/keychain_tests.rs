//! Tests of the keychain: files, precedence, helpers.

use std::sync::Mutex;

use super::*;
use crate::event::Silent;

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic { username: username.to_owned(), password: Secret::new(password) }
}

fn config(json: &str) -> Keychain {
    load(&[("DOCKER_AUTH_CONFIG", json)]).unwrap()
}

fn load(env: &[(&str, &str)]) -> Result<Keychain> {
    Keychain::load(&env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

async fn find(keychain: &Keychain, repository: &str) -> Credential {
    keychain.find(&repository.parse().unwrap(), &Silent).await.unwrap()
}

#[tokio::test]
async fn the_longest_path_wins_and_keys_have_many_forms() {
    // base64 of me:p:w with a trailing NUL, as docker on Windows wrote it.
    let keychain = config(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6cDp3AA=="},
            "https://R.io": {"username": "host", "password": "h"},
            "r.io/team": {"username": "team", "password": "t"},
            "id.io": {"auth": "bWU6eA==", "identitytoken": "refresh"},
            "null.io": null, "empty.io": {}}}"#,
    );
    assert_eq!(find(&keychain, "busybox").await, basic("me", "p:w"));
    assert_eq!(find(&keychain, "r.io/other/app").await, basic("host", "h"));
    assert_eq!(find(&keychain, "r.io/team/app").await, basic("team", "t"));
    assert_eq!(find(&keychain, "r.io/teamwork").await, basic("host", "h"));
    let identity = Credential::Identity { username: "me".to_owned(), token: Secret::new("refresh") };
    assert_eq!(find(&keychain, "id.io/a").await, identity);
    for none in ["null.io/a", "empty.io/a", "s.io/a"] {
        assert_eq!(find(&keychain, none).await, Credential::Anonymous);
    }
}

#[test]
fn bad_files_are_named_and_not_quoted() {
    for json in [
        r#"{"auths": {"r.io": {"password": ["hunter2"]}}}"#,
        r#"{"auths": "hunter2"}"#,
        "hunter2",
        r#"{"auths": {"r.io": {"auth": "!hunter2"}}}"#,
    ] {
        let error = load(&[("DOCKER_AUTH_CONFIG", json)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Auth);
        let text = format!("{error} {error:?}");
        assert!(text.contains("$DOCKER_AUTH_CONFIG") && !text.contains("hunter2"), "{text}");
    }
    assert!(load(&[("DOCKER_AUTH_CONFIG", " ")]).is_ok());
    assert_eq!(format!("{:?}", basic("me", "pw")), "Basic { username: \"me\", password: [secret] }");
}

#[tokio::test]
async fn files_are_asked_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    std::fs::create_dir_all(dir.path().join(".docker")).unwrap();
    std::fs::create_dir_all(dir.path().join("run/containers")).unwrap();
    let write = |name: &str, user: &str, host: &str| {
        let json = format!(r#"{{"auths": {{"{host}": {{"username": "{user}", "password": "p"}}}}}}"#);
        std::fs::write(dir.path().join(name), json).unwrap();
    };
    write(".docker/config.json", "docker", "a.io");
    write("run/containers/auth.json", "podman", "a.io");
    write("file.json", "file", "b.io");
    let (file, run) = (format!("{root}/file.json"), format!("{root}/run"));
    let keychain = load(&[("HOME", root), ("REGISTRY_AUTH_FILE", &file), ("XDG_RUNTIME_DIR", &run)]).unwrap();
    assert_eq!(find(&keychain, "a.io/x").await, basic("docker", "p"));
    assert_eq!(find(&keychain, "b.io/x").await, basic("file", "p"));
    let keychain = load(&[("HOME", "/nonexistent"), ("XDG_RUNTIME_DIR", &run)]).unwrap();
    assert_eq!(find(&keychain, "a.io/x").await, basic("podman", "p"));
}

#[cfg(unix)]
mod helpers {
    use super::*;

    struct Warnings(Mutex<Vec<String>>);

    impl Observer for Warnings {
        fn on(&self, event: Event) {
            if let Event::Warning(text) = event {
                self.0.lock().unwrap().push(text);
            }
        }
    }

    /// A keychain whose helpers are `scripts`, and the directory that they live in.
    fn with(json: &str, scripts: &[(&str, &str)]) -> (tempfile::TempDir, Keychain) {
        let dir = tempfile::tempdir().unwrap();
        for (name, script) in scripts {
            // Another process writes: one that this process has open can't be run while a test forks.
            let made = std::process::Command::new("sh")
                .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod +x "$2""#, "sh", script])
                .arg(dir.path().join(format!("docker-credential-{name}")))
                .status();
            assert!(made.unwrap().success());
        }
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let keychain = load(&[("DOCKER_AUTH_CONFIG", json), ("PATH", &path)]).unwrap();
        (dir, keychain)
    }

    #[tokio::test]
    async fn a_registrys_helper_beats_the_store_and_the_file() {
        let echo = r#"read server; printf '{"Username":"%s","Secret":"s"}' "$server""#;
        let json = r#"{"credHelpers": {"a.io": "echo"}, "credsStore": "none",
            "auths": {"a.io": {"username": "u", "password": "p"}, "b.io": {"username": "u", "password": "p"}}}"#;
        let none = "echo credentials not found in native keychain; exit 1";
        let (_dir, keychain) = with(json, &[("echo", echo), ("none", none)]);
        assert_eq!(find(&keychain, "a.io/x").await, basic("a.io", "s"));
        assert_eq!(find(&keychain, "b.io/x").await, basic("u", "p"));
        assert_eq!(find(&keychain, "c.io/x").await, Credential::Anonymous);
        let (_dir, keychain) = with(r#"{"credsStore": "echo"}"#, &[("echo", echo)]);
        assert_eq!(find(&keychain, "busybox").await, basic(HUB, "s"));
    }

    #[tokio::test]
    async fn a_missing_store_is_a_warning_and_a_broken_helper_an_error() {
        let (_dir, keychain) = with(r#"{"credsStore": "gone"}"#, &[]);
        let warnings = Warnings(Mutex::default());
        let repository = "a.io/x".parse().unwrap();
        for _ in 0..2 {
            let found = keychain.find(&repository, &warnings).await.unwrap();
            assert_eq!(found, Credential::Anonymous);
        }
        assert_eq!(warnings.0.lock().unwrap().len(), 1);
        for (name, script) in [
            ("bad", "echo hunter2; exit 3"),
            ("bad", "echo hunter2"),
            ("bad", "head -c 70000 /dev/zero"),
            ("../bad", "exit 0"),
            ("gone", ""),
        ] {
            let json = format!(r#"{{"credHelpers": {{"a.io": "{name}"}}}}"#);
            let (_dir, keychain) = with(&json, &[("bad", script)]);
            let error = keychain.find(&repository, &Silent).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Auth, "{name} {script}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
