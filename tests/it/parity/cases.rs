//! The cases, in the user's words.

use crate::support::twins::{Case, case};

/// All of them.
pub(super) fn all() -> Vec<Case> {
    [
        names(),
        publishing(),
        config(),
        kodata(),
        bases(),
        platforms(),
        go(),
        failures(),
        super::configured::all(),
        super::windows::all(),
    ]
    .concat()
}

/// Repositories, tags and programs' names.
fn names() -> Vec<Case> {
    let mixed = |name| case(name).module("example.com/Mixed/Case");
    let two = |name| case(name).no_file("main.go").main("cmd/a").main("cmd/b");
    vec![
        case("one program"),
        case("name: last part").run("-B"),
        case("name: import path").run("-P"),
        case("name: bare").run("--bare"),
        mixed("name: mixed case, md5"),
        mixed("name: mixed case, last part").run("-B"),
        mixed("name: mixed case, import path").run("-P"),
        mixed("name: mixed case, bare").run("--bare"),
        case("name: repository with a slash at its end").env("KO_DOCKER_REPO", "{repo}/").run("-B"),
        case("name: underscores and dots").module("example.com/a_b.c-d").run("-P"),
        case("package: a folder").main("cmd/app").run("./cmd/app -B"),
        case("package: an import path").main("cmd/app").run("example.com/tiny/cmd/app -B"),
        case("package: an import path with ko://").main("cmd/app").run("ko://example.com/tiny/cmd/app -B"),
        case("package: the folder where one is").main("cmd/app").cd("cmd/app").run("-B"),
        case("package: of a /v2 module").module("example.com/tiny/v2").main("cmd/app").run("./cmd/app -P"),
        case("package: root of a /v2 module").module("example.com/tool/v2").run("-P").differs("program name"),
        case("package: several").no_file("main.go").main("cmd/a").main("cmd/b").run("./cmd/a ./cmd/b"),
        two("package: several by import path").run("example.com/tiny/cmd/b example.com/tiny/cmd/a -P"),
        two("package: the same twice").run("./cmd/a ./cmd/a example.com/tiny/cmd/a -B"),
        two("package: several, bare").run("./cmd/a ./cmd/b --bare").differs("collision"),
        case("package: several of one name")
            .main("a/app")
            .main("b/app")
            .run("./a/app ./b/app -B")
            .differs("collision"),
        two("package: pattern").run("./... -B").differs("patterns"),
    ]
}

/// Tags and outputs.
fn publishing() -> Vec<Case> {
    vec![
        case("tag: one").run("-t v1 -B"),
        case("tag: several").run("-t v1,v2 -B"),
        case("tag: repeated flags").run("-t v1 --tags latest -B"),
        case("tag: latest").run("-t latest -B"),
        case("tag: the same twice").run("-t v1,v1 -B"),
        case("tag: invalid").run("-t a:b").fails(),
        case("jobs").base("two").run("-j 1 --platform all"),
        case("layout")
            .run("--push=false --oci-layout-path {out}")
            .differs("layout")
            .differs("references of files"),
        case("layout: index")
            .base("two")
            .run("--platform all")
            .run("--push=false --oci-layout-path {out}")
            .differs("layout")
            .differs("references of files"),
        case("layout: tags")
            .run("-t v1,v2")
            .run("--push=false --oci-layout-path {out}")
            .differs("layout")
            .differs("references of files"),
        case("layout: path with upper case").run("--push=false --oci-layout-path Up").differs("layout paths"),
        case("layout and registry").run("--oci-layout-path {out}").differs("layout"),
        case("tarball").run("--push=false --tarball {out}").differs("references of files"),
        case("tarball: tags")
            .run("-t v1,v2 -B")
            .run("--push=false --tarball {out}")
            .differs("references of files"),
        case("tarball: docker base")
            .base("docker")
            .run("--push=false --tarball {out}")
            .differs("references of files"),
        case("tarball: two platforms")
            .base("two")
            .run("--platform all")
            .run("--push=false --tarball {out}")
            .fails(),
        case("no repository").no_repo().differs("no repository"),
    ]
}

/// Labels, annotations, user, times.
fn config() -> Vec<Case> {
    vec![
        case("label").run("--image-label a=b"),
        case("label: several flags").run("--image-label a=b --image-label c=d"),
        case("label: several in one flag").run("--image-label a=b,c=d"),
        case("label: the last one counts").run("--image-label a=b --image-label a=c"),
        case("label: empty value").run("--image-label a="),
        case("label: quotes").arg("--image-label").arg("org.example.x=a \"c\"").differs("commas"),
        case("label: blanks and more").arg("--image-label").arg("org.example.x=ä b = c"),
        case("label: over the base's")
            .base("rich")
            .run("--image-label shared=mine --image-label own=1")
            .differs("KO_DATA_PATH twice"),
        case("label: no value").run("--image-label a").fails(),
        case("annotation").run("--image-annotation a=b"),
        case("annotation: of an index").base("two").run("--image-annotation a=b --platform all"),
        case("annotation: over the base's").base("annotated").run("--image-annotation org.example.base=mine"),
        case("annotation: no value").run("--image-annotation a").fails(),
        case("user").run("--image-user 1000:1000"),
        case("user: over the base's").base("rich").run("--image-user nobody").differs("KO_DATA_PATH twice"),
        case("epoch").env("SOURCE_DATE_EPOCH", "1700000000"),
        case("epoch: 0").env("SOURCE_DATE_EPOCH", "0"),
        case("epoch: with kodata")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .file("kodata/a", "a")
            .differs("time of kodata's layer"),
        case("epoch: of kodata").env("KO_DATA_DATE_EPOCH", "1600000000").file("kodata/a/b", "b"),
        case("epoch: both")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .env("KO_DATA_DATE_EPOCH", "1600000000")
            .file("kodata/a", "a"),
        case("epoch: both, an index")
            .base("two")
            .run("--platform all")
            .env("SOURCE_DATE_EPOCH", "1")
            .env("KO_DATA_DATE_EPOCH", "2"),
        case("epoch: invalid").env("SOURCE_DATE_EPOCH", "yesterday").fails(),
        case("epoch: of kodata, invalid").env("KO_DATA_DATE_EPOCH", "1.5").file("kodata/a", "a").fails(),
    ]
}

/// Data beside the program.
fn kodata() -> Vec<Case> {
    let long = format!("kodata/{}/{}", "d".repeat(120), "f".repeat(140));
    vec![
        case("kodata").file("kodata/a", "a").file("kodata/b.txt", "b"),
        case("kodata: folders").file("kodata/a/b/c", "c").file("kodata/a/d", "d").file("kodata/a.b", "e"),
        case("kodata: programs").executable("kodata/run", "#!/bin/sh\n").file("kodata/data", ""),
        case("kodata: hidden files").file("kodata/.git/HEAD", "x").file("kodata/.hidden", "y"),
        case("kodata: odd names").file("kodata/a b", "1").file("kodata/ä", "2").file("kodata/-x", "3"),
        case("kodata: long names").file(&long, "x"),
        case("kodata: of a package in a folder")
            .main("cmd/app")
            .file("cmd/app/kodata/a", "a")
            .run("./cmd/app"),
        case("kodata: not of another package").main("cmd/app").file("kodata/a", "a").run("./cmd/app"),
        case("kodata: for two platforms").base("two").file("kodata/a", "a").run("--platform all"),
        case("kodata: link to a file").file("kodata/a", "a").link("kodata/b", "a"),
        case("kodata: link to a file in a folder").file("kodata/x/a", "a").link("kodata/b", "x/a"),
        case("kodata: link to a folder").file("kodata/x/a", "a").link("kodata/y", "x"),
        case("kodata: link to a link").file("kodata/a", "a").link("kodata/b", "a").link("kodata/c", "b"),
        case("kodata: link back into itself").file("kodata/a", "a").link("kodata/b", "../kodata/a"),
        case("kodata: link to the module")
            .file("kodata/a", "a")
            .link("kodata/b", "../main.go")
            .differs("links"),
        case("kodata: link out of the module")
            .file("kodata/a", "a")
            .link("kodata/b", "/etc/hostname")
            .fails(),
        case("kodata: link to nowhere").file("kodata/a", "a").link("kodata/b", "missing").fails(),
        case("kodata: is a link").file("data/a", "a").link("kodata", "data").differs("kodata is a link"),
        case("kodata: whiteout").file("kodata/.wh.a", "a").differs("whiteouts"),
    ]
}

/// What the image stands on.
fn bases() -> Vec<Case> {
    vec![
        case("base: docker image").base("docker").differs("oci types"),
        case("base: docker list").base("docker-list").run("--platform all").differs("oci types"),
        case("base: docker list, one platform").base("docker-list").differs("oci types"),
        case("base: everything in its config").base("rich").differs("KO_DATA_PATH twice"),
        case("base: nothing in its config").base("bare"),
        case("base: annotations").base("annotated"),
        case("base: annotations of an index")
            .base("index-annotated")
            .run("--platform all")
            .differs("annotations of entries"),
        case("base: annotations of an index, one platform").base("index-annotated"),
        case("base: index of one").base("alone"),
        case("base: index of one, all").base("alone").run("--platform all"),
        case("base: index with attestations").base("attested").run("--platform all"),
        case("base: index with attestations, one platform").base("attested").run("--platform linux/arm64"),
        case("base: index in an index").base("nested").run("--platform all").fails(),
        case("base: not there").base("absent").fails(),
        case("base: no tag").base("{host}/base/image").fails(),
    ]
}

/// What the image is for.
fn platforms() -> Vec<Case> {
    let on = |name, base: &str, platform: &str| case(name).base(base).run(&format!("--platform {platform}"));
    vec![
        on("platform: one of two", "two", "linux/arm64"),
        on("platform: two", "two", "linux/amd64,linux/arm64"),
        on("platform: two flags", "two", "linux/amd64 --platform=linux/arm64"),
        on("platform: two in another order", "two", "linux/arm64,linux/amd64").differs("order"),
        on("platform: all", "two", "all"),
        on("platform: all of an image", "image", "all"),
        on("platform: the same twice", "two", "linux/amd64,linux/amd64"),
        on("platform: one is missing", "two", "linux/arm64,linux/s390x").differs("missing platform"),
        on("platform: it is missing", "two", "linux/s390x").fails(),
        on("platform: not that of the image", "arm", "linux/amd64").fails(),
        on("platform: that of the image", "arm", "linux/arm/v7").differs("variant of an image"),
        on("platform: all and one", "two", "all,linux/amd64").fails(),
        on("platform: unknown", "two", "linux/amd65").fails(),
        on("platform: too long", "variants", "linux/arm/v7/x").fails(),
        on("platform: system alone", "two", "linux"),
        on("platform: arm/v5", "variants", "linux/arm/v5"),
        on("platform: arm/v6", "variants", "linux/arm/v6"),
        on("platform: arm/v7", "variants", "linux/arm/v7"),
        on("platform: arm/v6 and arm/v7", "variants", "linux/arm/v6,linux/arm/v7"),
        on("platform: arm/v4", "variants", "linux/arm/v4").fails(),
        on("platform: arm with a word", "variants", "linux/arm/wrong-prefix").fails(),
        on("platform: any arm", "variants", "linux/arm").differs("one variant"),
        on("platform: arm64", "variants", "linux/arm64").differs("v8 of arm64"),
        on("platform: arm64/v8", "variants", "linux/arm64/v8").differs("v8 of arm64"),
        on("platform: arm64/v4", "variants", "linux/arm64/v4").fails(),
        on("platform: any amd64", "variants", "linux/amd64").differs("one variant"),
        on("platform: amd64/v3", "variants", "linux/amd64/v3"),
        on("platform: amd64/v3 of a plain base", "two", "linux/amd64/v3").differs("lower variant"),
        on("platform: all variants", "variants", "all").differs("v8 of arm64"),
        on("platform: 386 and mips64le", "odd", "linux/386,linux/mips64le"),
        on("platform: riscv64 and s390x", "odd", "linux/riscv64,linux/s390x"),
        on("platform: all odd ones", "odd", "all"),
        on("platform: freebsd", "unix", "freebsd/amd64"),
        on("platform: of the base, version given", "versions", "linux/amd64:10.0.17763.1234"),
        on("platform: part of a version", "versions", "linux/amd64:10.0.17763").fails(),
        on("platform: arm64 of a base with arm64/v3", "arm64-v3", "linux/arm64").differs("higher variant"),
    ]
}

/// How programs are compiled.
fn go() -> Vec<Case> {
    let tagged = "//go:build special\n\npackage main\n\nfunc init() { println(\"special\") }\n";
    vec![
        case("go: linker flags").arg("--ldflags=-s -w"),
        case("go: linker flags, repeated").run("--ldflags=-s --ldflags=-w"),
        case("go: linker flag with a comma").arg("--ldflags=-X main.a=b,c").differs("commas"),
        case("go: without optimisations").run("--disable-optimizations"),
        case("go: without optimisations, with linker flags").run("--disable-optimizations --ldflags=-w"),
        case("go: GOFLAGS").env("GOFLAGS", "-tags=special").file("special.go", tagged),
        case("go: GOFLAGS with -toolexec").env("GOFLAGS", "-toolexec=/bin/true").fails(),
        case("go: GOAMD64").env("GOAMD64", "v3"),
        case("go: GOARM of arm")
            .base("arm")
            .run("--platform linux/arm/v7")
            .env("GOARM", "5")
            .differs("ambient target with a platform"),
        case("go: GOOS and GOARCH")
            .base("two")
            .env("GOOS", "linux")
            .env("GOARCH", "arm64")
            .differs("ambient target"),
        case("go: CGO_ENABLED").env("CGO_ENABLED", "0"),
    ]
}

/// What nobody can build.
fn failures() -> Vec<Case> {
    vec![
        case("no such package").run("./nope").fails(),
        case("not a program").file("main.go", "package lib\n").fails(),
        case("does not compile").file("main.go", "package main\n\nfunc main() { x }\n").fails(),
        case("no module").no_file("go.mod").fails(),
        case("unknown flag").run("--platfrom x").fails(),
        case("repository in upper case").env("KO_DOCKER_REPO", "{host}/Upper").fails(),
    ]
}
