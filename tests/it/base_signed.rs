//! `baseVerification`: bases that must be signed, and by whom.

use crate::support::Sandbox;
use crate::support::canary::SECRET;
use crate::support::registry::TestRegistry;

/// A sandbox with keys, whose configuration wants bases signed.
fn sandbox(rules: &str) -> Sandbox {
    let sandbox = Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET);
    for name in ["one", "two"] {
        sandbox.run(&format!("gimg key generate --output {name}")).ok();
    }
    sandbox.file(".gimg.yaml", rules)
}

#[test]
fn a_base_is_used_only_if_a_key_of_its_entry_signed_it() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let rules = format!(
        "baseVerification:\n- base: {host}/special\n  key: two.pub\n- base: {host}/*\n  key: [one.pub, two.pub]\n"
    );
    let sandbox = sandbox(&rules);
    let push = |name: &str, flags: &str| {
        sandbox.run(&format!("gimg build ./cmd/other --bare --repo {host}/{name} {flags}")).ok().digest()
    };
    push("unsigned", "");
    push("base", "--sign-key two.key");
    push("special", "--sign-key one.key");
    // Whoever sees it in cosign's old layout alone has seen it too.
    push("old", "--sign-key one.key --sign-tag");
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    registry.artifacts("old", bundle).iter().for_each(|a| registry.remove_manifest("old", a));
    let build = |base: &str| sandbox.run(&format!("gimg build ./cmd/hello --output oci:out --base {base}"));
    build(&format!("{host}/base")).ok();
    build(&format!("{host}/old")).ok();
    build("static").ok();
    for (name, words) in [("unsigned", "it has no signature"), ("special", "it is signed by another key")] {
        let error = build(&format!("{host}/{name}")).fails(11, &[words, "use the base"]);
        assert!(error.stderr.contains("hint: baseVerification wants it signed"), "{}", error.stderr);
    }
    // A digest, or a lock file, makes nobody trusted; nor does a key that is no key.
    let digest = registry.tags("unsigned")["latest"].clone();
    build(&format!("{host}/unsigned@{digest}")).fails(11, &["it has no signature"]);
    sandbox.run(&format!("gimg lock --base {host}/unsigned")).ok();
    build(&format!("{host}/unsigned")).fails(11, &["it has no signature"]);
    sandbox.write("two.pub", "no key");
    build(&format!("{host}/special")).fails(11, &["two.pub"]);
}

#[test]
fn a_rebase_wants_the_new_base_signed_too() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let sandbox = sandbox(&format!("baseVerification:\n- base: '{host}/base*'\n  key: one.pub\n"));
    let base = |flags: &str| {
        sandbox.run(&format!("gimg build ./cmd/other --bare --repo {host}/base {flags}")).ok();
    };
    base("--sign-key one.key");
    sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {host}/org --base {host}/base")).ok();
    let was = registry.tags("org");
    base("--image-label a=b");
    sandbox.run(&format!("gimg rebase {host}/org")).fails(11, &["it has no signature"]);
    assert_eq!(registry.tags("org"), was);
    base("--image-label a=b --sign-key one.key");
    sandbox.run(&format!("gimg rebase {host}/org")).ok();
    assert_ne!(registry.tags("org"), was);
}

#[test]
fn mistakes_are_errors_with_their_key() {
    for (rules, words) in [
        ("- base: ghcr.io/Me\n  key: one.pub\n", "ghcr.io/Me"),
        ("- base: ghcr.io/me\n  key: []\n", "it has no key"),
        ("- base: ghcr.io/me\n", "key"),
        ("- base: ghcr.io/me\n  keys: a\n", "keys"),
    ] {
        let sandbox = Sandbox::go("hello").file(".gimg.yaml", &format!("baseVerification:\n{rules}"));
        sandbox.run("gimg build ./cmd/hello").fails(3, &[words]);
    }
    let sandbox = Sandbox::go("hello").file(".ko.yaml", "baseVerification: []\n");
    sandbox.run("gimg build ./cmd/hello").fails(3, &["baseVerification"]);
}
