//! Every difference between the images of ko and gimg that is meant to be: how it is recognised, and its row in the
//! README.

use super::Difference;

/// A difference that is meant to be.
pub(super) struct OnPurpose {
    /// Its name in the cases.
    pub(super) id: &'static str,
    /// The first column of its row in the README's table.
    pub(super) row: &'static str,
    /// Whether it may be in every image; else only in cases that name it.
    pub(super) everywhere: bool,
    /// Whether a difference is this one.
    pub(super) is: fn(&Difference) -> bool,
}

/// In every image.
const fn always(id: &'static str, row: &'static str, is: fn(&Difference) -> bool) -> OnPurpose {
    OnPurpose { id, row, everywhere: true, is }
}

/// Where a case says so.
const fn named(id: &'static str, row: &'static str, is: fn(&Difference) -> bool) -> OnPurpose {
    OnPurpose { id, row, everywhere: false, is }
}

/// ko fails, gimg doesn't.
fn gimg_can(d: &Difference) -> bool {
    d.about("exit", "") && d.is_pair("failure", "success")
}

/// gimg refuses what ko does.
fn gimg_refuses(d: &Difference) -> bool {
    d.about("exit", "") && d.is_pair("success", "failure")
}

/// Rows of the README that no comparison of images can show: the test of each.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("default base", "all_means_every_platform_of_the_built_in_base"),
    ("references of several programs", "arguments_are_answered_in_their_order_and_patterns_find_every_main"),
    ("bases with foreign layers", "layers_that_are_kept_elsewhere_need_a_word_and_are_never_moved"),
    ("`--debug` on a platform without Delve", "platforms_without_a_debugger_are_refused"),
    ("the debugger of `--debug`", "another_module_than_the_pinned_one_is_refused"),
    ("SBOMs", "every_image_of_an_index_has_its_sbom"),
    ("`--sbom` with another word than `none` or `spdx`", "an_unknown_kind_of_sbom_is_refused"),
    ("what SBOMs say", "replaced_modules_are_what_stands_in_for_them"),
    ("tags", "tags_move_only_when_every_program_is_there"),
];

const KODATA_STEP: &str = "history of kodata contents, at $KO_DATA_PATH";

pub(super) const ON_PURPOSE: &[OnPurpose] = &[
    always("no empty layer", "no kodata", |d| {
        let folders = ["var/run/ko", "Files/var", "Files/var/run", "Files/var/run/ko"];
        folders.iter().any(|f| d.only_ko(&format!("folder {f}")))
            || d.only_ko(KODATA_STEP)
            || d.about("layers", "number") && d.is_pair("2", "1")
    }),
    always("own folders only", "folders in layers", |d| {
        d.only_ko("folder var") || d.only_ko("folder var/run")
    }),
    always("modes of folders", "folders in layers", |d| {
        d.key.item.starts_with("folder ") && d.key.part == "mode" && d.is_pair("0555", "0755")
    }),
    always("names in layers", "files in layers", |d| {
        let clean = |s: &Option<String>| s.as_deref().map(|s| s.trim_matches('/').to_owned());
        let folder = d.key.item.starts_with("folder ");
        d.key.part == "stored as"
            && clean(&d.ko) == clean(&d.gimg)
            && d.gimg.as_deref().is_some_and(|g| !g.starts_with('/') && g.ends_with('/') == folder)
    }),
    always("modes of data", "files in layers", |d| {
        let is_data =
            ["file var/run/ko/", "file Files/var/run/ko/"].iter().any(|f| d.key.item.starts_with(f));
        is_data && d.key.part == "mode" && d.is_pair("0555", "0444")
    }),
    always("author", "author and history", |d| {
        d.about("config", "author")
            && d.ko.as_deref() == Some("github.com/ko-build/ko")
            && d.gimg.as_deref().is_none_or(|base| base == "The Base")
    }),
    always("history", "author and history", |d| {
        let step = d.key.item.starts_with("history of ");
        step && match d.key.part.as_str() {
            "author" => d.is_pair("ko", "gimg"),
            "created_by" => d.ko.as_ref().is_some_and(|ko| d.gimg == Some(format!("gimg {}", &ko[3..]))),
            "created" => d.is_pair("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            _ => false,
        }
    }),
    always("artifact type", "entries of an index", |d| {
        d.about("entry of the index", "artifactType")
            && d.is_pair("\"application/vnd.oci.image.config.v1+json\"", "")
    }),
    always("base digest", "base digest annotation of an index", |d| {
        d.about("annotation", "org.opencontainers.image.base.digest")
            && d.key.platform.is_empty()
            && d.gimg.as_ref().is_some_and(|g| g.starts_with("DIGEST OF base/"))
    }),
    always("times unknown", "author and history", |d| {
        d.about("config", "created") && d.is_pair("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z")
    }),
    named("time of kodata's layer", "author and history", |d| {
        d.about(KODATA_STEP, "created") && d.is_pair("0001-01-01T00:00:00Z", "2023-11-14T22:13:20Z")
    }),
    named("oci types", "media types", |d| {
        let part = d.key.part.as_str();
        let is_type = matches!(part, "type" | "types" | "config type" | "mediaType" | "artifactType");
        let docker = d.ko.as_deref().is_some_and(|t| t.contains("application/vnd.docker."));
        is_type && docker && d.gimg.as_deref().is_none_or(|t| t.contains("application/vnd.oci.image."))
    }),
    named("annotations of entries", "entries of an index", |d| {
        d.about("entry of the index", "annotations") && d.is_pair("{\"org.example.child\":\"yes\"}", "")
    }),
    named("order", "order of an index", |d| {
        d.about("root", "order of platforms")
            && d.is_pair("linux/amd64,linux/arm64", "linux/arm64,linux/amd64")
    }),
    named("missing platform", "a platform that the base lacks", gimg_refuses),
    named("one variant", "a platform without variant", |d| {
        let several = match d.key.part.as_str() {
            "kind" => d.is_pair("index", "image"),
            "type" => d.ko.as_deref().is_some_and(|t| t.ends_with("index.v1+json")),
            "order of platforms" => d.gimg.is_none(),
            _ => false,
        };
        several && d.key.item == "root" || d.key.part.is_empty() && d.gimg.is_none()
    }),
    named("higher variant", "a platform without variant", gimg_refuses),
    named("lower variant", "a variant that the base lacks", gimg_can),
    named("variant of an image", "a variant, of a base without index", gimg_can),
    named("v8 of arm64", "`arm64/v8`", |d| {
        let platform = "{\"architecture\":\"arm64\",\"os\":\"linux\"";
        d.about("config", "variant") && d.is_pair("v8", "")
            || d.about("entry of the index", "platform")
                && d.is_pair(&format!("{platform},\"variant\":\"v8\"}}"), &format!("{platform}}}"))
    }),
    named("ambient target", "GOOS, GOARCH or GOARM in the environment", |d| {
        let (ko, gimg) = (d.key.platform == "linux/arm64", d.key.platform == "linux/amd64");
        ko && d.gimg.is_none() || gimg && d.ko.is_none()
    }),
    named("ambient target with a platform", "GOOS, GOARCH or GOARM in the environment", gimg_can),
    named("KO_DATA_PATH twice", "KO_DATA_PATH of the base", |d| {
        let other = "\"KO_DATA_PATH=/elsewhere\",";
        d.about("run config", "Env") && d.ko.as_ref().map(|e| e.replace(other, "")) == d.gimg
    }),
    named("commas", "commas and quotes in values", |d| {
        d.about("run config", "Labels") && d.is_pair(r#"{"a":"b","c":"d"}"#, r#"{"a":"b,c=d"}"#)
            || gimg_can(d)
    }),
    named("links", "links in kodata", gimg_can),
    named("kodata is a link", "links in kodata", |d| {
        let there = d.key.item == "file var/run/ko/a" && d.key.part.is_empty();
        there && d.ko.is_none()
    }),
    named("whiteouts", "`.wh.` names in kodata", gimg_refuses),
    named("program of Windows", "Windows programs", |d| {
        let (plain, exe) = (r#"["C:\\ko-app\\tiny"]"#, r#"["C:\\ko-app\\tiny.exe"]"#);
        d.only_ko("file Files/ko-app/tiny")
            || d.only_ko("history of go build output, at /ko-app/tiny")
            || d.only_gimg("file Files/ko-app/tiny.exe")
            || d.only_gimg(r"history of go build output, at C:\ko-app\tiny.exe")
            || d.about("run config", "Entrypoint") && d.is_pair(plain, exe)
    }),
    named("path of Windows", "Windows programs", |d| {
        let ko = d.ko.as_ref().map(|env| env.replace(r":C:\\ko-app", r";C:\\ko-app"));
        d.about("run config", "Env") && ko == d.gimg
    }),
    named("links of Windows", "Windows programs", |d| d.only_gimg("file Files/var/run/ko/l")),
    named("program name", "the program of `example.com/tool/v2`", |d| {
        let with = |name: &str| d.key.item.ends_with(&format!("ko-app/{name}"));
        with("v2") && d.gimg.is_none()
            || with("tool") && d.ko.is_none()
            || d.about("run config", "Entrypoint") && d.is_pair(r#"["/ko-app/v2"]"#, r#"["/ko-app/tool"]"#)
    }),
    named("collision", "two programs of one name", gimg_refuses),
    named("patterns", "`./...`", gimg_can),
    named("no repository", "without a repository", gimg_can),
    named("unknown keys", "unknown keys in `.ko.yaml`", gimg_refuses),
    named("md5 of upper case", "`--push=false`", |d| {
        let md5 = |s: &Option<String>| {
            let hex = s.as_deref().and_then(|s| s.strip_prefix("REPO/app-")?.strip_suffix(":v1@DIGEST"));
            hex.is_some_and(|hex| hex.len() == 32)
        };
        d.about("standard output", "") && md5(&d.ko) && md5(&d.gimg)
    }),
    named("dry run of upper case", "`--push=false`", gimg_can),
    named("dry run", "`--push=false`", |d| {
        let ko = d.ko.as_deref().unwrap_or_default();
        let untagged = ko.replace(":latest@", "@").replace(":v1@", "@");
        let unnamed = ko.starts_with("tiny-") && ko.ends_with(":latest@DIGEST");
        let gimg = d.gimg.as_deref().unwrap_or_default();
        d.about("standard output", "")
            && ko != untagged
            && (gimg.to_lowercase() == untagged.to_lowercase() || unnamed && gimg == "tiny@DIGEST")
    }),
    named("layout", "layouts", |d| {
        let name = r#"{"org.opencontainers.image.ref.name":"latest"}"#;
        match (d.key.item.as_str(), d.key.part.as_str()) {
            ("entry of the layout", "annotations") => {
                d.is_pair("", name) || d.is_pair("", &name.replace("latest", "v1"))
            }
            ("entry of the layout", "artifactType") => d.gimg.is_none(),
            ("entry of the layout", "platform") => d.ko.is_none(),
            // One entry for each tag.
            (_, "") => d.key.image == "entry 1" && d.ko.is_none(),
            _ => false,
        }
    }),
    named("layout paths", "layouts", gimg_can),
    named("references of files", "references of files", |d| {
        let ko = d.ko.as_deref().unwrap_or_default();
        d.about("standard output", "")
            && match d.gimg.as_deref() {
                Some("oci:out@DIGEST") => ko == "out@DIGEST",
                Some("docker-archive:out@DIGEST") => ko.starts_with("REPO/tiny") && ko.contains("@sha256:"),
                _ => false,
            }
    }),
];
