//! `gimg login` and `gimg logout`: credentials are checked before they are saved, saved where docker and its friends
//! look, and everything else in their file stays; completion scripts and manual pages.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use gimg::registry::{CredentialFile, Secret};
use serde_json::{Value, json};

use crate::support::canary::{PAIR, SECRET};
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::servers::Server;
use crate::support::{Ran, Sandbox};

/// Runs a line with a standard input. The password never comes back.
fn run_given(sandbox: &Sandbox, line: &str, input: &str) -> Ran {
    let mut command = sandbox.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A run that fails early doesn't read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let ran = Ran::of(line, output);
    assert!(input.trim().is_empty() || !ran.stderr.contains(input.trim()), "{}", ran.stderr);
    ran
}

fn login(sandbox: &Sandbox, host: &str, password: &str) -> Ran {
    run_given(sandbox, &format!("gimg login {host} -u user --password-stdin -v"), password)
}

fn config(sandbox: &Sandbox) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path("home/.docker/config.json")).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Writes docker's file.
fn configured(sandbox: Sandbox, text: &str) -> Sandbox {
    std::fs::create_dir_all(sandbox.path("home/.docker")).unwrap();
    std::fs::write(sandbox.path("home/.docker/config.json"), text).unwrap();
    sandbox
}

fn with_basic() -> TestRegistry {
    let auth = Auth::Basic("user".to_owned(), SECRET.to_owned());
    TestRegistry::with(Config { auth, ..Config::default() })
}

#[test]
fn a_login_is_used_by_gimg_and_by_crane_until_the_logout() {
    let sandbox = Sandbox::go("hello");
    let digest = sandbox.run("gimg build ./cmd/hello --output oci:image").ok().digest();
    let file = sandbox.path("home/.docker/config.json");
    for server in [Server::olareg_with_tokens(), Server::olareg_with_basic()] {
        let host = server.host();
        let push = format!("gimg push image {host}/team/pushed");
        sandbox.run(&push).fails(6, &[&format!("hint: gimg login {host}")]);
        let ran = login(&sandbox, &host, &format!("{SECRET}\n")).ok();
        assert_eq!(ran.stdout, "");
        let kept = format!("the password is kept in {}, unencrypted", file.display());
        assert!(ran.stderr.contains(&format!("logged in to {host} as user; {kept}")), "{}", ran.stderr);
        let entry = format!("\t\t\"{host}\": {{\n\t\t\t\"auth\": \"{PAIR}\"\n\t\t}}\n");
        let text = format!("{{\n\t\"auths\": {{\n{entry}\t}}\n}}\n");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

        sandbox.run(&push).ok();
        sandbox.run(&format!("gimg build ./cmd/hello --repo {host}/team -B")).ok();
        for name in ["hello", "pushed"] {
            let found = sandbox.run(&format!("crane digest {host}/team/{name}")).ok();
            assert_eq!(found.stdout.trim(), digest);
        }

        let ran = sandbox.run(&format!("gimg logout {host}")).ok();
        assert_eq!((ran.stdout.as_str(), ran.stderr), ("", format!("logged out of {host}\n")));
        assert_eq!(config(&sandbox), json!({"auths": {}}));
        sandbox.run(&push).fails(6, &[]);
        let ran = sandbox.run(&format!("gimg logout {host}")).ok();
        assert_eq!(ran.stderr, format!("not logged in to {host}\n"));
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn what_a_registry_refuses_is_not_saved() {
    for server in [Server::olareg_with_tokens(), Server::olareg_with_basic()] {
        let sandbox = Sandbox::new();
        login(&sandbox, &server.host(), "hunter2").fails(6, &["check the user name and the password"]);
        assert!(!sandbox.path("home/.docker").exists());
        let text = r#"{"auths": {"other.io": {"auth": "bWU6cHc="}}}"#;
        let sandbox = configured(sandbox, text);
        login(&sandbox, &server.host(), "hunter2").fails(6, &["nothing was saved"]);
        let file = sandbox.path("home/.docker/config.json");
        assert_eq!(std::fs::read_to_string(file).unwrap(), text);
    }
    // A registry that isn't there, and one that sends its visitors to a stranger for tokens.
    let sandbox = Sandbox::new();
    login(&sandbox, "127.0.0.1:1", SECRET).fails(7, &["can't connect"]);
    let challenge = "Bearer realm=\"https://tokens.example.com/t\",service=\"r\"".to_owned();
    let registry = TestRegistry::start();
    let stranger = Fault::Status(401, vec![("www-authenticate", challenge)], String::new());
    registry.fail(When::times(9, "GET", "/v2/"), stranger);
    login(&sandbox, &registry.host(), SECRET)
        .fails(6, &["token server can't be trusted", "tokens.example.com"]);
    assert!(!sandbox.path("home/.docker").exists());
}

#[test]
fn an_open_registry_leaves_a_doubt() {
    let server = Server::olareg();
    let sandbox = Sandbox::new();
    let ran = login(&sandbox, &server.host(), SECRET).ok();
    assert!(ran.stderr.contains("the password could not be checked"), "{}", ran.stderr);
    assert_eq!(config(&sandbox)["auths"][server.host()]["auth"], PAIR);
}

#[test]
fn passwords_come_from_standard_input_or_with_a_warning_from_the_command_line() {
    let registry = with_basic();
    let host = registry.host();
    for end in ["", "\n", "\r\n"] {
        let input = &format!("{SECRET}{end}");
        login(&Sandbox::new(), &format!("http://{host}/v2/"), input).ok();
    }
    // One line's end belongs to the line, all else to the password.
    for (start, end) in [("", "\n\n"), (" ", ""), ("", "\r")] {
        let input = &format!("{start}{SECRET}{end}");
        login(&Sandbox::new(), &host, input).fails(6, &[]);
    }
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&format!("gimg login {host} -u user -p {SECRET}")).ok();
    assert!(ran.stderr.contains("warning: a password on the command line can be seen by others"));
    for (line, input, why) in [
        (format!("gimg login {host} -u user --password-stdin"), "", "the password is empty"),
        (format!("gimg login {host} -u us:er --password-stdin"), "x", "colon"),
        (format!("gimg login {host}/team -u user --password-stdin"), "x", "no path"),
        ("gimg login a..b -u user --password-stdin".to_owned(), "x", "not a host name"),
    ] {
        run_given(&sandbox, &line, input).fails(2, &[why]);
    }
    for line in ["login r.io -u user", "login r.io --password-stdin", "login r.io -u u -p p --password-stdin"]
    {
        assert_eq!(sandbox.run(&format!("gimg {line}")).code, 2, "{line}");
    }
    // No home, no file.
    let ran =
        run_given(&sandbox.without("HOME"), &format!("gimg login {host} -u user --password-stdin"), SECRET);
    ran.fails(3, &["neither DOCKER_CONFIG nor HOME is set"]);
}

#[test]
fn everything_else_in_the_file_stays() {
    let registry = with_basic();
    let host = registry.host();
    let text = format!(
        r#"{{"zebra": [1, 2.5, null], "auths": {{"z.io": {{"auth": "bWU6cHc=", "email": "é"}},
        "https://{host}/v1/": {{"auth": "b2xk", "identitytoken": "old"}}, "a.io": {{}}}},
        "psFormat": "table {{{{.ID}}}}\t<&>", "credHelpers": {{}}, "aliases": {{"b": "build"}}}}"#
    );
    let sandbox = configured(Sandbox::new(), &text);
    let file = sandbox.path("home/.docker/config.json");
    // The file is a link to one that others may read; both stay so.
    let real = sandbox.path("home/real.json");
    std::fs::rename(&file, &real).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("../real.json", &file).unwrap();
    login(&sandbox, &host, SECRET).ok();
    let mut expected: Value = serde_json::from_str(&text).unwrap();
    let auths = expected["auths"].as_object_mut().unwrap();
    auths.shift_remove(&format!("https://{host}/v1/"));
    auths.insert(host.clone(), json!({"auth": PAIR}));
    // As text: the order counts.
    assert_eq!(config(&sandbox).to_string(), expected.to_string());
    assert!(file.is_symlink());
    assert_eq!(mode(&real), 0o640);
    // Again: nothing changes, not even the file.
    let before = std::fs::metadata(&real).unwrap().modified().unwrap();
    login(&sandbox, &host, SECRET).ok();
    assert_eq!(std::fs::metadata(&real).unwrap().modified().unwrap(), before);
    sandbox.run(&format!("gimg logout {host}")).ok();
    expected["auths"].as_object_mut().unwrap().shift_remove(&host);
    assert_eq!(config(&sandbox).to_string(), expected.to_string());
}

#[test]
fn a_file_that_is_no_configuration_is_left_alone() {
    let registry = with_basic();
    for text in ["{\"auths\": [\"hunter2\"]}", "hunter2", "[]"] {
        let sandbox = configured(Sandbox::new(), text);
        let ran = login(&sandbox, &registry.host(), SECRET).fails(6, &["config.json"]);
        assert!(!ran.stderr.contains("hunter2"));
        sandbox.run(&format!("gimg logout {}", registry.host())).fails(6, &["config.json"]);
        assert_eq!(std::fs::read_to_string(sandbox.path("home/.docker/config.json")).unwrap(), text);
    }
    // Blank is empty; DOCKER_CONFIG says where.
    let sandbox = Sandbox::new();
    let dir = sandbox.path("elsewhere/deep");
    sandbox.may_hold_secrets("elsewhere/deep/config.json");
    let sandbox = sandbox.env("DOCKER_CONFIG", dir.to_str().unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.json"), "\n").unwrap();
    login(&sandbox, &registry.host(), SECRET).ok();
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
    assert!(text.contains(PAIR) && !sandbox.path("home/.docker").exists());
}

#[test]
fn logins_at_once_are_all_kept() {
    let registries: Vec<TestRegistry> = (0..8).map(|_| with_basic()).collect();
    for _ in 0..3 {
        let sandbox = Sandbox::new();
        let start = |line: String| {
            let mut command = sandbox.command(&line);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let lines = registries.iter().map(|r| format!("gimg login {} -u user --password-stdin", r.host()));
        let mut children: Vec<_> = lines.map(start).collect();
        for child in &mut children {
            child.stdin.take().unwrap().write_all(SECRET.as_bytes()).unwrap();
        }
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        let saved = config(&sandbox);
        assert_eq!(saved["auths"].as_object().unwrap().len(), registries.len(), "{saved}");
        let children = registries.iter().map(|r| start(format!("gimg logout {}", r.host())));
        for mut child in children.collect::<Vec<_>>() {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(config(&sandbox), json!({"auths": {}}));
        let files = std::fs::read_dir(sandbox.path("home/.docker")).unwrap();
        assert_eq!(files.count(), 1, "nothing else is left there");
    }
}

/// A sandbox with the credential helper `box`, which keeps one credential in the file `kept`.
fn with_helper(config: &str) -> Sandbox {
    let sandbox = configured(Sandbox::go("hello"), config);
    let script = r#"#!/bin/sh
cd "$BOX"
case "$1" in
store) cat > kept ;;
get) read -r server; grep -q "\"ServerURL\":\"$server\"" kept 2>/dev/null && exec cat kept
     echo "credentials not found in native keychain"; exit 1 ;;
erase) cat > erased; rm kept 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"#;
    // Another process writes: one that this process has open can't be run while a test forks.
    let make = r#"mkdir ../bin && printf %s "$1" > "$2" && chmod +x "$2""#;
    sandbox.run_with("sh -c", &[make, "sh", script, "../bin/docker-credential-box"]).ok();
    let bin = sandbox.path("bin").to_str().unwrap().to_owned();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    sandbox.may_hold_secrets("bin/kept");
    sandbox.env("PATH", &path).env("BOX", &bin)
}

#[test]
fn a_helper_keeps_what_it_is_there_for() {
    let server = Server::olareg_with_basic();
    let host = server.host();
    for helped in [json!({"credsStore": "box"}), json!({"credHelpers": {&host: "box"}, "credsStore": "none"})]
    {
        let mut before = helped.clone();
        before["auths"] = json!({ &host: {"auth": "b2xk"} });
        let sandbox = with_helper(&before.to_string());
        let ran = login(&sandbox, &host, SECRET).ok();
        assert!(ran.stderr.contains("kept by docker-credential-box"), "{}", ran.stderr);
        let mut after = helped.clone();
        after["auths"] = json!({ &host: {} });
        assert_eq!(config(&sandbox), after);
        let kept: Value = serde_json::from_slice(&std::fs::read(sandbox.path("bin/kept")).unwrap()).unwrap();
        assert_eq!(kept, json!({"ServerURL": host, "Username": "user", "Secret": SECRET}));
        sandbox.run(&format!("gimg build ./cmd/hello --repo {host}/team -B")).ok();
        // crane would ask the other helper too.
        if helped["credHelpers"].is_null() {
            sandbox.run(&format!("crane ls {host}/team/hello")).ok();
        }
        let ran = sandbox.run(&format!("gimg logout {host}")).ok();
        assert!(ran.stderr.contains("logged out of"), "{}", ran.stderr);
        assert_eq!(std::fs::read_to_string(sandbox.path("bin/erased")).unwrap(), host);
        after["auths"] = json!({});
        assert_eq!(config(&sandbox), after);
        let ran = sandbox.run(&format!("gimg logout {host}")).ok();
        assert!(ran.stderr.contains("not logged in to"), "{}", ran.stderr);
    }
    for (name, why) in
        [("gone", "docker-credential-gone is not installed"), ("../box", "invalid helper name")]
    {
        let sandbox = with_helper(&json!({"credsStore": name}).to_string());
        login(&sandbox, &host, SECRET).fails(6, &[why]);
        assert_eq!(config(&sandbox), json!({"credsStore": name}));
    }
}

#[tokio::test]
async fn docker_hub_has_its_old_name() {
    let dir = tempfile::tempdir().unwrap();
    let env = BTreeMap::from([("DOCKER_CONFIG".to_owned(), dir.path().to_str().unwrap().to_owned())]);
    let file = CredentialFile::locate(&env).unwrap();
    let old = r#"{"auths": {"docker.io": {}, "index.docker.io": {}, "docker.io/me": {}, "r.io": {}}}"#;
    std::fs::write(file.path(), old).unwrap();
    let read = || serde_json::from_slice::<Value>(&std::fs::read(file.path()).unwrap()).unwrap();
    for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        file.save(&name.parse().unwrap(), "user", &Secret::new(SECRET)).await.unwrap();
        let hub = "https://index.docker.io/v1/";
        let expected = json!({"auths": {"docker.io/me": {}, "r.io": {}, hub: {"auth": PAIR}}});
        assert_eq!(read().to_string(), expected.to_string());
    }
    assert!(file.remove(&"docker.io".parse().unwrap()).await.unwrap());
    assert_eq!(read().to_string(), r#"{"auths":{"docker.io/me":{},"r.io":{}}}"#);
}

#[test]
fn a_logout_says_what_it_cannot_reach() {
    let registry = with_basic();
    let sandbox = Sandbox::new();
    login(&sandbox, &registry.host(), SECRET).ok();
    let elsewhere = json!({"auths": {registry.host(): {"auth": PAIR}}}).to_string();
    sandbox.write("auth.json", &elsewhere);
    let path = sandbox.path("src/auth.json");
    let sandbox = sandbox.env("REGISTRY_AUTH_FILE", path.to_str().unwrap());
    let ran = sandbox.run(&format!("gimg logout {}", registry.host())).ok();
    assert!(ran.stderr.contains("there are still credentials"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(path).unwrap(), elsewhere);
    let sandbox = sandbox.env("DOCKER_AUTH_CONFIG", &elsewhere);
    let ran = login(&sandbox, &registry.host(), SECRET).ok();
    assert!(ran.stderr.contains("DOCKER_AUTH_CONFIG is set"), "{}", ran.stderr);
}

#[test]
fn shells_get_their_completion_scripts() {
    let sandbox = Sandbox::new();
    for (shell, part) in [
        ("bash", "complete -F _gimg"),
        ("zsh", "#compdef gimg"),
        ("fish", "complete -c gimg"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[gimg]"),
    ] {
        let ran = sandbox.run(&format!("gimg completion {shell}")).ok();
        assert!(ran.stdout.contains(part) && ran.stdout.contains("password-stdin"), "{shell}");
        assert_eq!(ran.stderr, "");
    }
    assert_eq!(sandbox.run("gimg completion csh").code, 2);
    // What a shell makes of it: the words that begin with `bui`.
    let script = r#". <(gimg completion bash)
        COMP_WORDS=(gimg bui); COMP_CWORD=1; _gimg gimg bui gimg; echo "${COMPREPLY[@]}""#;
    let bin = Path::new(env!("CARGO_BIN_EXE_gimg")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = sandbox.command("bash -c").arg(script).env("PATH", path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "build", "{output:?}");
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run("gimg man share/man1").ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let help = sandbox.run("gimg --help").ok().stdout;
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| l.starts_with("  "));
    let mut wanted: Vec<String> =
        commands.map(|l| format!("gimg-{}.1", l.split_whitespace().next().unwrap())).collect();
    wanted.push("gimg.1".to_owned());
    let page = |name: &str| std::fs::read_to_string(sandbox.path("src/share/man1").join(name)).unwrap();
    let found = std::fs::read_dir(sandbox.path("src/share/man1")).unwrap();
    assert_eq!(found.count(), wanted.len());
    for name in &wanted {
        let text = page(name);
        assert!(text.contains(&format!(".TH {} 1", name.trim_end_matches(".1"))), "{text}");
        assert!(text.contains(".SH SYNOPSIS"));
    }
    assert!(page("gimg-login.1").contains("password\\-stdin"));
    // The same again: nothing in them changes with time.
    let before = page("gimg.1");
    sandbox.run("gimg man share/man1").ok();
    assert_eq!(page("gimg.1"), before);
    sandbox.file("file", "").run("gimg man file/below").fails(9, &[]);
}
