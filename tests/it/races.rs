//! What changes between a look and a use. (Files of kodata that grow, shrink, are replaced or become links are tested
//! beside the code, in `fs` and `image::tar`.)

use std::os::unix::fs::PermissionsExt as _;

use crate::support::Sandbox;
use crate::support::canary::{PAIR, SECRET};
use crate::support::registry::{Auth, Config, Fault, TestRegistry};

#[test]
fn programs_are_compiled_to_where_nobody_else_can_put_one() {
    let sandbox = Sandbox::go("hello");
    let bin = sandbox.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = std::env::var("PATH").unwrap();
    // Even for a user who lets everybody write to what he makes.
    let script = format!(
        "#!/bin/sh\nfor word; do\ncase $word in -o=*) stat -c '%a %u' ${{word#-o=}}/.. >> {};; esac\ndone\n\
         PATH={path} exec go \"$@\"\n",
        sandbox.path("modes").display()
    );
    std::fs::write(bin.join("go"), script).unwrap();
    std::fs::set_permissions(bin.join("go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = sandbox.env("PATH", &format!("{}:{path}", bin.display()));
    let mut command = sandbox.command("sh -c");
    command.arg(format!("umask 000; exec {} build ./cmd/hello", env!("CARGO_BIN_EXE_gimg")));
    assert!(command.output().unwrap().status.success());
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(std::fs::read_to_string(sandbox.path("modes")).unwrap(), format!("700 {own}\n"));
}

#[test]
fn credentials_are_read_once() {
    let auth = Auth::Basic("user".to_owned(), SECRET.to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let sandbox = Sandbox::go("hello");
    let config = sandbox.path("home/.docker/config.json");
    std::fs::create_dir(config.parent().unwrap()).unwrap();
    let text = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{PAIR}\"}}}}}}", registry.host());
    std::fs::write(&config, text).unwrap();
    // Another program writes the file in the middle of the run, and half of it is there at every request.
    let half = config.clone();
    registry.hook(move |_, _| {
        std::fs::write(&half, "{\"auths\": {").unwrap();
        None::<Fault>
    });
    let line = format!("gimg build ./cmd/hello --repo {}/x --bare", registry.host());
    sandbox.run(&line).ok();
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "{\"auths\": {");
    // The next run sees it.
    sandbox.run(&line).fails(6, &["config.json"]);
}
