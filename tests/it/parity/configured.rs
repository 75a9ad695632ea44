//! Cases with a configuration file, with ko's variables, with templates, and of ko's other flags.

use crate::support::twins::{Case, case};

/// All of them.
pub(super) fn all() -> Vec<Case> {
    [file(), variables(), templates(), publishing(), engines(), capabilities()].concat()
}

/// `.ko.yaml`, over the base that it names or the one in the environment.
fn file() -> Vec<Case> {
    let of = |name, yaml: &str| case(name).file(".ko.yaml", yaml);
    let two = |name, yaml: &str| {
        of(name, yaml).no_file("main.go").main("cmd/a").main("cmd/b").run("./cmd/a ./cmd/b")
    };
    let tagged = |case: Case| {
        let source = "//go:build special\n\npackage main\n\nfunc init() { println(\"special\") }\n";
        case.file("special.go", source)
    };
    let base = "defaultBaseImage: '{host}/base/two:v1'\n";
    vec![
        of("file: base", base).base(""),
        of("file: platforms", &format!("{base}defaultPlatforms: [linux/arm64, linux/amd64]\n"))
            .base("")
            .differs("order"),
        of("file: all platforms", &format!("{base}defaultPlatforms: all\n")).base(""),
        of("file: platforms under a flag", &format!("{base}defaultPlatforms: [linux/arm64]\n"))
            .base("")
            .run("--platform linux/amd64"),
        two(
            "file: bases of programs",
            &format!("{base}baseImageOverrides:\n  example.com/tiny/cmd/b: '{{host}}/base/rich:v1'\n"),
        )
        .base("")
        .differs("KO_DATA_PATH twice"),
        case("file: base of a program in mixed case")
            .module("example.com/Mixed/Case")
            .file(".ko.yaml", "baseImageOverrides:\n  example.com/Mixed/Case: '{host}/base/annotated:v1'\n"),
        tagged(of("file: flags", "defaultFlags: [-tags=special]\n")),
        tagged(of("file: flags in one line", "defaultFlags: -v -tags=special\n")),
        tagged(of("file: flags in two words", "defaultFlags: [-tags, special]\n")),
        of("file: linker flags", "defaultLdflags: [-s, -w]\n"),
        of("file: linker flags in one line", "defaultLdflags: -s -w\n"),
        of("file: linker flags under a flag", "defaultLdflags: [-s]\n").run("--ldflags=-w"),
        of("file: environment", "defaultEnv: [GOAMD64=v2, CGO_ENABLED=0]\n"),
        of("file: environment of a program", "defaultEnv: [GOAMD64=v2]\nbuilds:\n- env: [GOAMD64=v3]\n"),
        tagged(of(
            "file: flags of a program",
            "defaultFlags: [-v]\nbuilds:\n- id: tiny\n  flags: [-tags=special]\n",
        )),
        of("file: linker flags of a program", "defaultLdflags: [-s]\nbuilds:\n- main: .\n  ldflags: -w\n"),
        two("file: one of two programs", "builds:\n- main: ./cmd/b\n  ldflags: [-s -w]\n"),
        two("file: a file of a program", "builds:\n- main: cmd/b/main.go\n  ldflags: [-s -w]\n"),
        of("file: a program of another module", "builds:\n- dir: ./sub\n  main: ./cmd/c\n  ldflags: [-s]\n")
            .file("sub/go.mod", "module example.com/sub\n\ngo 1.21\n")
            .main("sub/cmd/c")
            .run("example.com/sub/cmd/c -P"),
        two("file: an entry for nobody", "builds:\n- main: ./cmd/c\n  ldflags: [-s]\n").main("cmd/c"),
        of("file: an entry without its directory", "builds:\n- main: ./none\n").fails(),
        of("file: unknown key", "defaultBaseImg: x\n").differs("unknown keys"),
        of("file: unknown key of an entry", "builds:\n- mian: .\n").differs("unknown keys"),
        of("file: broken", "builds: [\n").fails(),
        of("file: -toolexec", "defaultFlags: [-toolexec=/bin/true]\n").fails(),
        case("file: JSON").file(".ko.json", "{\"defaultLdflags\": [\"-s\"]}"),
        case("file: TOML").file(".ko.toml", "defaultLdflags = [\"-s\"]\n"),
        of("file: elsewhere", "defaultLdflags: [-s]\n").main("cmd/a").cd("cmd/a"),
        of("file: named by a variable", "defaultLdflags: [-s]\n")
            .file("x/other.yaml", "defaultLdflags: [-w]\n")
            .env("KO_CONFIG_PATH", "x/other.yaml"),
        of("file: folder named by a variable", "defaultLdflags: [-s]\n")
            .file("x/.ko.yaml", "defaultLdflags: [-w]\n")
            .env("KO_CONFIG_PATH", "x"),
        case("file: a variable names none").env("KO_CONFIG_PATH", "none.yaml").fails(),
    ]
}

/// What ko reads from the environment.
fn variables() -> Vec<Case> {
    vec![
        case("variable: base over the file's").file(".ko.yaml", "defaultBaseImage: '{host}/base/rich:v1'\n"),
        case("variable: platforms").base("two").env("KO_DEFAULTPLATFORMS", "linux/amd64 linux/arm64"),
        case("variable: platforms with commas")
            .base("two")
            .env("KO_DEFAULTPLATFORMS", "linux/amd64,linux/arm64"),
        case("variable: platforms over the file's")
            .base("two")
            .file(".ko.yaml", "defaultPlatforms: [linux/amd64]\n")
            .env("KO_DEFAULTPLATFORMS", "linux/arm64"),
        case("variable: platforms under a flag")
            .base("two")
            .env("KO_DEFAULTPLATFORMS", "linux/arm64")
            .run("--platform linux/amd64"),
        case("variable: environment").env("KO_DEFAULTENV", "GOAMD64=v2 FOO=bar"),
        case("variable: linker flags").env("KO_DEFAULTLDFLAGS", "-s -w"),
        case("variable: linker flags over the file's")
            .env("KO_DEFAULTLDFLAGS", "-s")
            .file(".ko.yaml", "defaultLdflags: [-w]\n"),
        case("variable: flags").env("KO_DEFAULTFLAGS", "-v -tags=special"),
    ]
}

/// Templates in flags.
fn templates() -> Vec<Case> {
    // The value of a variable is in the program: what was made of a template is compared by its bytes.
    let source = "package main\n\nvar value string\n\nfunc main() { println(value) }\n";
    let of = |name, template: &str| {
        let yaml = format!("defaultLdflags:\n- '-X main.value={template}'\n");
        case(name).file("main.go", source).file(".ko.yaml", &yaml)
    };
    vec![
        of("template: environment", "{{.Env.VALUE}}").env("VALUE", "v1"),
        of("template: environment that isn't there", "{{.Env.NONE}}").fails(),
        of("template: LDFLAGS", "[{{.Env.LDFLAGS}}]"),
        of("template: target", "{{.Env.GOOS}}-{{.Env.GOARCH}}-{{.GoEnv.GOARCH}}")
            .base("two")
            .run("--platform all"),
        of("template: time", "{{.Date}}/{{.Timestamp}}").env("SOURCE_DATE_EPOCH", "1700000000"),
        of("template: functions", "{{if eq .Env.A \"1\"}}{{printf \"%05d\" 42}}{{else}}no{{end}}")
            .env("A", "1"),
        of("template: git", "{{.Git.Branch}}/{{.Git.Tag}}/{{.Git.ShortCommit}}/{{.Git.FullCommit}}").git(),
        of("template: git's times", "{{.Git.CommitDate}}/{{.Git.CommitTimestamp}}").git(),
        of("template: git's state", "{{.Git.IsDirty}}/{{.Git.IsClean}}/{{.Git.TreeState}}").git(),
        of("template: no git", "[{{.Git.Branch}}{{.Git.Tag}}{{.Git.IsDirty}}{{.Git.TreeState}}]"),
        of("template: unknown field", "{{.Nope}}").fails(),
        of("template: not closed", "{{.Env").fails(),
        case("git: the stamp").git(),
    ]
}

/// Flags about where images go and what is said.
fn publishing() -> Vec<Case> {
    vec![
        case("dry run").run("--push=false").differs("dry run"),
        case("dry run: tag").run("--push=false -t v1 -B"),
        case("dry run: tags").run("--push=false -t v1,v2 -B").differs("dry run"),
        case("dry run: no repository").no_repo().run("--push=false").differs("dry run"),
        case("dry run: mixed case, last part")
            .module("example.com/Mixed/Case")
            .run("--push=false -B")
            .differs("dry run of upper case"),
        case("dry run: mixed case, import path")
            .module("example.com/Mixed/Case")
            .run("--push=false -P")
            .differs("dry run of upper case"),
        case("dry run: mixed case, md5")
            .module("example.com/Mixed/app")
            .run("--push=false -t v1")
            .differs("md5 of upper case"),
        case("layout: in gimg's words")
            .ko("--push=false --oci-layout-path {out}")
            .gimg("--output oci:{out}")
            .differs("layout")
            .differs("references of files"),
        case("tag only").run("--tag-only -t v1 -B"),
        case("tag only: no tag").run("--tag-only").fails(),
        case("tag only: two tags").run("--tag-only -t v1,v2").fails(),
        case("tag only: latest").run("--tag-only -t latest").fails(),
        case("references: image").run("--image-refs refs.txt"),
        case("references: index").base("two").run("--platform all --image-refs refs.txt"),
        case("references: tag").run("--image-refs refs.txt -t v1"),
        case("tarball and registry").run("--tarball {out}"),
        case("plain HTTP").run("--insecure-registry"),
    ]
}

/// File capabilities, to the byte.
fn capabilities() -> Vec<Case> {
    let of =
        |name, words: &str| case(name).file(".ko.yaml", &format!("builds:\n- linux_capabilities: {words}\n"));
    vec![
        of("capabilities: one", "net_bind_service"),
        of("capabilities: effective", "net_bind_service=ep"),
        of("capabilities: several", "[cap_net_raw, NET_ADMIN]"),
        of("capabilities: several in one line", "net_raw chown"),
        of("capabilities: inheritable", "[\"net_raw,chown=i\", net_bind_service+p]"),
        of("capabilities: beyond 32", "[bpf, checkpoint_restore]"),
        of("capabilities: number", "\"13\""),
        of("capabilities: all", "all=ep"),
        of("capabilities: unknown", "fly").fails(),
        of("capabilities: of two platforms", "net_raw+ep")
            .base("two")
            .run("--platform all")
            .file("kodata/a", "a"),
    ]
}

/// Images loaded into Docker.
fn engines() -> Vec<Case> {
    vec![
        case("engine: ko.local").engine("ko.local"),
        case("engine: ko.local, last part").engine("ko.local").run("-B"),
        case("engine: ko.local, import path").engine("ko.local").run("-P"),
        case("engine: ko.local, bare").engine("ko.local").run("--bare"),
        case("engine: below ko.local").engine("ko.local/team").run("-B"),
        case("engine: flag").engine("").run("--local"),
        case("engine: short flag").engine("").run("-L -B -t v1"),
        case("engine: flag and repository").engine("example.com/team").run("-L -B"),
        case("engine: tags").engine("ko.local").run("-t v1,v2 -B"),
        case("engine: kodata").engine("ko.local").file("kodata/a", "a"),
        case("engine: mixed case").module("example.com/Mixed/Case").engine("ko.local").run("-P"),
        case("engine: two platforms").base("two").engine("ko.local").run("--platform all"),
        case("engine: two platforms by name")
            .base("two")
            .engine("ko.local")
            .run("--platform linux/arm64,linux/amd64"),
        case("engine: one of two").base("two").engine("ko.local").run("--platform linux/arm64"),
        case("engine: index").base("two").engine("ko.local"),
        case("engine: docker base").base("docker").engine("ko.local"),
    ]
}
