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

    /// The clouds' helpers are asked for their own registries, one after the other, after all files.
    #[tokio::test]
    async fn the_helpers_of_clouds_need_no_configuration() {
        let echo = r#"read server; printf '{"Username":"gcr","Secret":"%s"}' "$server""#;
        let none = "echo credentials not found in native keychain; exit 1";
        let (_dir, keychain) = with("{}", &[("gcr", echo), ("gcloud", none), ("ecr-login", "exit 1")]);
        assert_eq!(find(&keychain, "gcr.io/p/x").await, basic("gcr", "gcr.io"));
        assert_eq!(find(&keychain, "eu-docker.pkg.dev/p/x").await, basic("gcr", "eu-docker.pkg.dev"));
        for stranger in ["a.io/x", "busybox", "mine.azurecr.io/x"] {
            assert_eq!(find(&keychain, stranger).await, Credential::Anonymous);
        }
        let json = r#"{"auths": {"gcr.io": {"username": "u", "password": "p"}}}"#;
        let (_dir, keychain) = with(json, &[("gcr", echo)]);
        assert_eq!(find(&keychain, "gcr.io/p/x").await, basic("u", "p"));
    }

    struct Details(Mutex<Vec<String>>);

    impl Observer for Details {
        fn on(&self, event: Event) {
            match event {
                Event::Detail(text) => self.0.lock().unwrap().push(text),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_helper_that_nobody_named_fails_in_silence_and_once() {
        let script = "echo run >> $0.log; echo hunter2; echo hunter2 >&2; exit 1";
        let (dir, keychain) = with("{}", &[("ecr-login", script)]);
        let details = Details(Mutex::default());
        for repository in ["public.ecr.aws/a/b", "public.ecr.aws/c/d"] {
            let found = keychain.find(&repository.parse().unwrap(), &details).await.unwrap();
            assert_eq!(found, Credential::Anonymous);
        }
        let details = details.0.lock().unwrap();
        assert_eq!(details.len(), 1, "{details:?}");
        assert!(details[0].contains("ecr-login") && !details[0].contains("hunter2"), "{details:?}");
        let log = std::fs::read_to_string(dir.path().join("docker-credential-ecr-login.log")).unwrap();
        assert_eq!(log, "run\n");
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_stopped_with_all_that_it_started() {
        let json = r#"{"credHelpers": {"a.io": "slow"}}"#;
        let script = "echo hunter2; sleep 600 & echo $! > $0.new; mv $0.new $0.pid; wait";
        let (dir, mut keychain) = with(json, &[("slow", script)]);
        let pid = dir.path().join("docker-credential-slow.pid");
        let inner = Arc::get_mut(&mut keychain.0).unwrap();
        // Long enough for a shell to start on a busy machine; without the limit it would be minutes.
        inner.helpers.patience = std::time::Duration::from_secs(3);
        let error = keychain.find(&"a.io/x".parse().unwrap(), &Silent).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth);
        assert!(error.to_string().contains("timed out after 3s"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        // Whoever inherits it may take a moment to notice; a zombie is dead too.
        for _ in 0..500 {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            let dead = state.map_or(true, |s| s.rsplit(')').next().is_some_and(|s| s.starts_with(" Z")));
            if dead || rustix::process::test_kill_process(pid).is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("what the helper started still runs");
    }

    #[tokio::test]
    async fn a_helper_has_the_users_environment_and_no_terminal() {
        let json = r#"{"credHelpers": {"a.io": "env"}}"#;
        let script = r#"read server; printf '{"Username":"%s","Secret":"%s"}' "$HOME" "$(cat | wc -c)""#;
        let (dir, _) = with(json, &[("env", script)]);
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let keychain = load(&[("DOCKER_AUTH_CONFIG", json), ("PATH", &path), ("HOME", "/h")]).unwrap();
        assert_eq!(find(&keychain, "a.io/x").await, basic("/h", "0"));
    }
}
