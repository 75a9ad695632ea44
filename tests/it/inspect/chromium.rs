//! The page of `gimg inspect --html` in a browser: it asks for nothing, breaks nothing, and can be used by everyone.
//! What it looks like is left in target/tmp/inspect for eyes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::page::{hostile, page};
use crate::support::layers::{stored, tar};
use crate::support::registry::TestRegistry;
use crate::support::{Sandbox, root, tool};

/// What a run of the browser left behind.
struct Seen {
    /// The page's elements when all was done.
    dom: String,
    /// What the page, or the browser about it, said.
    console: Vec<String>,
    /// What the page asked for; the browser itself tries to ask for more, in vain.
    requests: Vec<String>,
}

/// Where pictures are left.
fn pictures() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inspect");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Opens a file. No name leads anywhere.
#[track_caller]
fn browse(sandbox: &Sandbox, file: &Path, scheme: &str, more: &[&str]) -> Seen {
    let log = sandbox.path("net.json");
    let mut command = sandbox.command(
        "chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking \
         --disable-component-update --disable-sync --disable-extensions --no-first-run --enable-logging=stderr \
         --virtual-time-budget=60000 --net-log-capture-mode=Everything --no-proxy-server",
    );
    let dark = format!("--blink-settings=preferredColorScheme={}", if scheme == "dark" { 0 } else { 1 });
    let profile = format!("--user-data-dir={}", sandbox.path("profile").display());
    command.args([&dark, &profile, &format!("--log-net-log={}", log.display())]);
    command.arg("--host-resolver-rules=MAP * ~NOTFOUND").args(more);
    let output = command.arg(format!("file://{}", file.display())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let console = said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    let log: Value = serde_json::from_str(&std::fs::read_to_string(log).unwrap()).unwrap();
    let events = log["events"].as_array().unwrap().iter();
    // Of each request one event says who began it.
    let by_page = events
        .map(|event| &event["params"])
        .filter(|said| said["initiator"].as_str().is_some_and(|initiator| initiator != "not an origin"));
    let requests = by_page.filter_map(|said| said["url"].as_str().map(str::to_owned)).collect();
    Seen { dom: String::from_utf8(output.stdout).unwrap(), console, requests }
}

/// A page that checks another one, which is in a frame of this width, and what it found.
#[track_caller]
fn checked(sandbox: &Sandbox, page: &str, scheme: &str, width: u32, script: &str) -> Value {
    let inside = serde_json::to_string(page).unwrap().replace("</", "<\\/").replace("<!--", "<\\!--");
    let checker = format!(
        "<!doctype html><iframe width={width} height=2000></iframe><script>const frame = document.querySelector('iframe');\
         frame.onload = async () => {{ const page = frame.contentDocument; const found = await (async () => {{ {script} }})();\
         const pre = document.createElement('pre'); pre.textContent = JSON.stringify(found); document.body.append(pre); }};\
         frame.srcdoc = {inside};</script>"
    );
    let file = sandbox.path("checker.html");
    std::fs::write(&file, checker).unwrap();
    let seen = browse(sandbox, &file, scheme, &["--dump-dom"]);
    let found = seen.dom.rsplit_once("<pre>").unwrap_or_else(|| panic!("{:?}", seen.console)).1;
    let found = found.split_once("</pre>").unwrap().0;
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    serde_json::from_str(&found).unwrap()
}

/// What axe-core finds wrong, of which it needs no policy in its way.
#[track_caller]
fn violations(sandbox: &Sandbox, page: &str, scheme: &str) -> Vec<String> {
    let axe = std::fs::read_to_string(root().join(".tools/npm/axe-core/axe.min.js"))
        .expect("run tests/tools/install integration");
    let (head, rest) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let rest = rest.split_once('>').unwrap().1.replace("</body>", &format!("<script>{axe}</script></body>"));
    let script = "page.querySelectorAll('details').forEach((one) => { one.open = true; });\
                  return await frame.contentWindow.axe.run(page);";
    let found = checked(sandbox, &format!("{head}{rest}"), scheme, 1280, script);
    assert!(found["passes"].as_array().unwrap().len() > 20, "{found}");
    let wrong = found["violations"].as_array().unwrap().iter();
    wrong.map(|rule| format!("{}: {}", rule["id"], rule["nodes"][0]["html"])).collect()
}

#[test]
#[ignore = "integration: needs chromium and axe-core"]
fn integration_the_page_works_in_a_browser_for_everyone() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/app", registry.host());
    let build = format!("gimg build ./cmd/hello --bare --repo {repo} --platform linux/amd64,linux/arm64 -t");
    sandbox.run(&format!("{build} one")).ok();
    sandbox.run(&format!("{build} two --ldflags=-s --image-label team=blue")).ok();
    let of_image = page(&sandbox, &format!("{repo}:two --against {repo}:one"));
    let of_program = page(&sandbox, &tool("ko").display().to_string());
    hostile(&sandbox, &[stored(&tar(&[("a", '-', "b")]), "gzip")]);
    let of_hostile = page(&sandbox, "oci:bad");
    for (name, page) in [("image", &of_image), ("program", &of_program), ("hostile", &of_hostile)] {
        let file = sandbox.path(&format!("{name}.html"));
        std::fs::write(&file, page).unwrap();
        for scheme in ["light", "dark"] {
            let picture = pictures().join(format!("{name}-{scheme}.png"));
            let to = format!("--screenshot={}", picture.display());
            let seen = browse(&sandbox, &file, scheme, &[&to, "--window-size=1280,2400"]);
            assert_eq!(seen.console, [""; 0], "{name}");
            assert_eq!(seen.requests, [""; 0], "{name}");
            assert!(std::fs::metadata(&picture).unwrap().len() > 30_000, "{}", picture.display());
            assert_eq!(violations(&sandbox, page, scheme), [""; 0], "{name} {scheme}");
            let colours =
                "const style = getComputedStyle(page.body); return [style.backgroundColor, style.color];";
            let expected = match scheme {
                "light" => json!(["rgb(255, 255, 255)", "rgb(27, 31, 36)"]),
                _ => json!(["rgb(15, 20, 25)", "rgb(230, 233, 237)"]),
            };
            assert_eq!(checked(&sandbox, page, scheme, 1280, colours), expected);
        }
        // Nothing is wider than the screen, and one of the maps is there.
        let script = "page.querySelectorAll('details').forEach((one) => { one.open = true; });\
                      const root = page.documentElement;\
                      const shown = (name) => [...page.querySelectorAll('svg.' + name)].filter((map) => map.checkVisibility()).length;\
                      return [root.scrollWidth <= root.clientWidth, shown('wide'), shown('narrow')];";
        let maps = page.matches("class=\"map wide\"").count();
        assert_eq!(checked(&sandbox, page, "light", 390, script), json!([true, 0, maps]), "{name}");
        assert_eq!(checked(&sandbox, page, "light", 1280, script), json!([true, maps, 0]), "{name}");
    }
    by_keyboard(&sandbox, &of_image);
    // All of this does look.
    let broken = of_image
        .replace("<html lang=\"en\"", "<html")
        .replace("<main", "<img src=\"http://127.0.0.1:1/x.png\"><main");
    let file = sandbox.path("broken.html");
    std::fs::write(&file, &broken).unwrap();
    let seen = browse(&sandbox, &file, "light", &["--dump-dom"]);
    assert!(seen.console.iter().any(|line| line.contains("Content Security Policy")), "{:?}", seen.console);
    assert_eq!(
        violations(&sandbox, &broken, "light").len(),
        3,
        "language, text of the picture, place of the picture"
    );
    let unbound = broken.replace("default-src", "img-src * ; default-src");
    std::fs::write(&file, &unbound).unwrap();
    let seen = browse(&sandbox, &file, "light", &["--dump-dom"]);
    assert!(seen.requests.iter().any(|url| url == "http://127.0.0.1:1/x.png"), "{:?}", seen.requests);
}

/// Whatever can be used has the focus in turn, and shows it; columns are sorted by their headings.
#[track_caller]
fn by_keyboard(sandbox: &Sandbox, page: &str) {
    let script = "page.querySelectorAll('details').forEach((one) => { one.open = true; });\
                  const all = [...page.querySelectorAll('a[href], button, summary')];\
                  const plain = all.filter((one) => { one.focus(); const style = frame.contentWindow.getComputedStyle(one);\
                  return page.activeElement !== one || style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2; });\
                  const tabs = page.querySelectorAll('[tabindex]').length;\
                  return [all.length > 20, plain.map((one) => one.outerHTML), tabs];";
    assert_eq!(checked(sandbox, page, "light", 1280, script), json!([true, [], 0]));
    let script = "const table = page.querySelector('details table'); table.closest('details').open = true;\
                  const heading = [...table.tHead.rows[0].cells].find((cell) => cell.textContent === 'Code');\
                  const column = heading.cellIndex; const sizes = () => [...table.tBodies[0].rows].map((row) => +row.cells[column].dataset.n);\
                  const is = (sign) => sizes().every((size, at, all) => !at || sign * (size - all[at - 1]) >= 0);\
                  const press = () => { heading.querySelector('button').click(); return heading.getAttribute('aria-sort'); };\
                  const names = () => { const first = table.tHead.rows[0].cells[0]; first.querySelector('button').click();\
                  const all = [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);\
                  return [first.getAttribute('aria-sort'), heading.getAttribute('aria-sort'), all.every((name, at) => !at || name >= all[at - 1])]; };\
                  return [press(), is(-1), press(), is(1), names()];";
    assert_eq!(
        checked(sandbox, page, "light", 1280, script),
        json!(["descending", true, "ascending", true, ["ascending", null, true]])
    );
    // All is there without the script too.
    let (before, rest) = page.split_once("<script>").unwrap();
    let still = format!("{before}{}", rest.split_once("</script>").unwrap().1);
    let script = "return [page.querySelectorAll('button').length, page.querySelectorAll('details tbody tr').length > 100];";
    assert_eq!(checked(sandbox, &still, "light", 1280, script), json!([0, true]));
}
