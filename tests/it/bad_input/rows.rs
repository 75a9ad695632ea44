//! The rows: bad input, and what gimg says.

use std::os::unix::fs::symlink;
use std::path::Path;

/// Bad input, and what gimg says.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) line: &'static str,
    pub(super) env: &'static [(&'static str, &'static str)],
    /// Done to the tree before.
    pub(super) tree: fn(&Path),
    pub(super) code: i32,
    pub(super) words: &'static [&'static str],
}

const fn row(what: &'static str, line: &'static str, code: i32, words: &'static [&'static str]) -> Row {
    Row { what, line, env: &[], tree: |_| {}, code, words }
}

impl Row {
    const fn env(mut self, env: &'static [(&'static str, &'static str)]) -> Self {
        self.env = env;
        self
    }

    const fn tree(mut self, tree: fn(&Path)) -> Self {
        self.tree = tree;
        self
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(super) fn kodata(tree: &Path, name: &str) {
    write(&tree.join("kodata").join(name), "data");
}

pub(super) const FLAGS: &[Row] = &[
    row("no command", "gimg", 2, &["Usage: gimg <COMMAND>"]),
    row("unknown command", "gimg biuld", 2, &["'biuld'", "'build'"]),
    row("unknown flag", "gimg build --platfrom all", 2, &["'--platfrom'", "'--platform'"]),
    row("flag without value", "gimg build --repo", 2, &["--repo"]),
    row("no platform", "gimg build --platform=", 2, &["list of platforms is empty"]),
    row("only commas", "gimg build --platform=,", 2, &["list of platforms is empty"]),
    row(
        "unknown system",
        "gimg build --platform lunix/amd64",
        2,
        &["unknown operating system \"lunix\"", "linux, windows"],
    ),
    row(
        "unknown architecture",
        "gimg build --platform linux/amd65",
        2,
        &["unknown architecture \"amd65\" for linux", "amd64"],
    ),
    row(
        "architecture of another system",
        "gimg build --platform aix/amd64",
        2,
        &["\"amd64\" for aix", "ppc64"],
    ),
    row(
        "unknown variant",
        "gimg build --platform linux/arm/v9",
        2,
        &["unknown variant \"v9\" of arm", "v7, v6, v5"],
    ),
    row(
        "variant where there is none",
        "gimg build --platform linux/s390x/z13",
        2,
        &["unknown variant \"z13\" of s390x"],
    ),
    row("too many parts", "gimg build --platform linux/arm/v7/x", 2, &["too many parts"]),
    row("all and one", "gimg build --platform all,linux/amd64", 2, &["not both"]),
    row(
        "all of nothing",
        "gimg build --base scratch --platform all",
        2,
        &["all means nothing with --base scratch"],
    ),
    row(
        "a system of nothing",
        "gimg build --base scratch --platform linux",
        2,
        &["linux alone means nothing"],
    ),
    row("empty tag", "gimg build --tags=", 2, &["invalid tag \"\""]),
    row(
        "tag with a colon",
        "gimg build --tags a:b",
        2,
        &["invalid tag \"a:b\"", "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"],
    ),
    row("tag with a dot first", "gimg build --tags v1,.x", 2, &["invalid tag \".x\""]),
    row("tag too long", "gimg build --tags {long}", 2, &["129 characters, limit 128"]),
    row("tag and no digest, without tag", "gimg build --tag-only", 2, &["just one tag"]),
    row("label without value", "gimg build --image-label a", 2, &["--image-label", "\"a\" isn't key=value"]),
    row("label without key", "gimg build --image-label =a", 2, &["--image-label", "\"=a\" isn't key=value"]),
    row(
        "annotation without key",
        "gimg build --image-annotation =a",
        2,
        &["--image-annotation", "isn't key=value"],
    ),
    row(
        "user with three parts",
        "gimg build --image-user nobody:xx:yy",
        2,
        &["--image-user", "user[:group]"],
    ),
    row("empty user", "gimg build --image-user=", 2, &["--image-user"]),
    row("unknown compression", "gimg build --compression lzma", 2, &["lzma"]),
    row("level of no compression", "gimg build --compression gzip:10", 2, &["gzip has levels 1 to 9"]),
    row("jobs that are no number", "gimg build --jobs many", 2, &["'many'", "--jobs"]),
    row("two namings", "gimg build -B -P", 2, &["cannot be used with"]),
    row("empty package", "gimg build ko://", 2, &["packages: one is empty"]),
    row("unknown format", "gimg build --format xml", 2, &["'xml'", "json"]),
    row("Go flag that is none", "gimg build --go-flag=", 3, &["\"\" is not a flag", "-tags=netgo"]),
    row("Go flag that is a package", "gimg build --go-flag ./x", 3, &["\"./x\" is not a flag"]),
    row("-toolexec", "gimg build --go-flag=-toolexec=/bin/evil", 3, &["-toolexec is not allowed"]),
    row("-o", "gimg build --go-flag=--o=x", 3, &["-o is not allowed"]),
    row("-toolexec in GOFLAGS", "gimg build", 3, &["-toolexec is not allowed", "GOFLAGS"])
        .env(&[("GOFLAGS", "-modcacherw -toolexec=/bin/evil")]),
    row(
        "Go flag that Go lacks",
        "gimg build --go-flag=-nosuch",
        4,
        &["flag provided but not defined: -nosuch"],
    ),
];

pub(super) const VARIABLES: &[Row] = &[
    row("epoch that is no number", "gimg build", 2, &["SOURCE_DATE_EPOCH", "\"yesterday\""])
        .env(&[("SOURCE_DATE_EPOCH", "yesterday")]),
    row("negative epoch", "gimg build", 2, &["SOURCE_DATE_EPOCH", "\"-1\""])
        .env(&[("SOURCE_DATE_EPOCH", "-1")]),
    row("epoch of the year 10000", "gimg build", 2, &["SOURCE_DATE_EPOCH"])
        .env(&[("SOURCE_DATE_EPOCH", "253402300800")]),
    row("epoch of kodata", "gimg build", 2, &["KO_DATA_DATE_EPOCH", "\"1.5\""])
        .env(&[("KO_DATA_DATE_EPOCH", "1.5")]),
    row("a token server for no registry", "gimg build --repo r.invalid/x", 2, &["isn't REGISTRY=HOST"])
        .env(&[("GIMG_TOKEN_SERVERS", "auth.example.com")]),
    row("no temporary directory", "gimg build", 9, &["make a temporary directory", "TMPDIR"])
        .env(&[("TMPDIR", "/proc")]),
    row("go that isn't there", "gimg build", 3, &["/nonexistent/go", "no such program"])
        .env(&[("KO_GO_PATH", "/nonexistent/go")]),
    row("go that isn't Go", "gimg build", 4, &["go env", "exit status: 1"])
        .env(&[("KO_GO_PATH", "/bin/false")]),
    row("toolchain that can't be had", "gimg build", 4, &["requires go >= 1.99", "GOTOOLCHAIN"])
        .env(&[("GOTOOLCHAIN", "local")])
        .tree(|tree| write(&tree.join("go.mod"), "module example.com/m\n\ngo 1.99\n")),
];

pub(super) const REFERENCES: &[Row] = &[
    row("no repository", "gimg build --output registry", 2, &["no repository is set", "GIMG_REPO"]),
    row("empty repository", "gimg build --repo=", 3, &["invalid repository \"\""]),
    row(
        "repository in upper case",
        "gimg build --repo ghcr.io/Foo/app",
        3,
        &["lower case", "did you mean ghcr.io/foo/app"],
    ),
    row("repository too long", "gimg build --repo ghcr.io/{long}/{long}", 3, &["longer than 255 characters"]),
    row("repository with dots", "gimg build --repo ghcr.io/../x", 3, &["invalid path component"]),
    row("port out of range", "gimg build --repo reg.io:99999/x", 3, &["port 99999 out of range"]),
    row(
        "repository with a scheme",
        "gimg build --repo https://ghcr.io/x",
        3,
        &["no scheme", "use ghcr.io/x"],
    ),
    row("repository with a digest", "gimg build --repo ghcr.io/x@sha256:00", 3, &["can't push to a digest"]),
    row("registry alone, bare", "gimg build --repo localhost:5000 --bare", 3, &["repository"]),
    row(
        "base with a short digest",
        "gimg build --base ghcr.io/a@sha256:ABC",
        3,
        &["invalid digest", "64 lower-case hex digits"],
    ),
    row(
        "base with another digest",
        "gimg build --base ghcr.io/a@md5:d41d8cd9",
        3,
        &["unsupported digest algorithm md5"],
    ),
    row("base at no path", "gimg build --base oci:", 5, &["not an OCI image layout"]),
    row(
        "base that is no layout",
        "gimg build --base oci:main.go",
        5,
        &["not an OCI image layout", "main.go"],
    ),
    row("built-in base of the future", "gimg build --base static@99", 5, &["this gimg has static@1"]),
    row(
        "base without the platform",
        "gimg build --base {host}/base/two:v1 --platform linux/arm64,linux/s390x",
        5,
        &["it has no linux/s390x", "it has linux/amd64, linux/arm64"],
    ),
    row(
        "base for Windows only",
        "gimg build --base {host}/base/windows:v1",
        5,
        &["it has no linux/amd64", "it has windows/amd64"],
    ),
    row(
        "base without the system",
        "gimg build --base {host}/base/two:v1 --platform freebsd",
        5,
        &["it has no freebsd"],
    ),
    row("base that isn't there", "gimg build --base {host}/base/none:v1", 5, &["base/none:v1", "not found"]),
    row(
        "base with an index in its index",
        "gimg build --base {host}/base/nested:v1 --platform all",
        8,
        &["index nested too deep"],
    ),
];

pub(super) const PACKAGES: &[Row] = &[
    row("no such directory", "gimg build ./nope", 3, &["./nope", "directory not found"]),
    row("a library", "gimg build ./lib", 3, &["it is package \"lib\", not main"])
        .tree(|tree| write(&tree.join("lib/lib.go"), "package lib\n")),
    row("a package of Go's", "gimg build fmt", 3, &["it is package \"fmt\", not main"]),
    row("a directory without Go", "gimg build ./docs", 3, &["no Go files", "./cmd/app"])
        .tree(|tree| write(&tree.join("docs/README"), "")),
    row("a file", "gimg build ./main.go", 3, &["it is a file, not a package", "name its directory"]),
    row("two packages in one directory", "gimg build ./two", 3, &["found packages a", "and b"]).tree(
        |tree| {
            write(&tree.join("two/a.go"), "package a\n");
            write(&tree.join("two/b.go"), "package b\n");
        },
    ),
    row("a module that isn't required", "gimg build example.com/absent/cmd", 3, &["no required module"]),
    row("a path that is a flag", "gimg build -- -x", 3, &["leading dash"]),
    row("a pattern without programs", "gimg build ./lib/...", 3, &["no package main matches"])
        .tree(|tree| write(&tree.join("lib/lib.go"), "package lib\n")),
    row("a pattern without packages", "gimg build ./docs/...", 3, &["no package main matches"])
        .tree(|tree| write(&tree.join("docs/README"), "")),
    row(
        "files for other platforms",
        "gimg build ./win",
        3,
        &["build constraints exclude all Go files", "[linux/amd64]"],
    )
    .tree(|tree| write(&tree.join("win/main.go"), "//go:build windows\n\npackage main\n\nfunc main() {}\n")),
    row("no module", "gimg build", 3, &["no go.mod in this directory or above", "go mod init"])
        .tree(|tree| std::fs::remove_file(tree.join("go.mod")).unwrap()),
    row("a module file that is none", "gimg build", 3, &["go.mod:1: unknown directive: modul"])
        .tree(|tree| write(&tree.join("go.mod"), "modul example.com/m\n")),
    row("a workspace without its module", "gimg build", 3, &["cannot load module none listed in go.work"])
        .tree(|tree| write(&tree.join("go.work"), "go 1.21\n\nuse ./none\n")),
    row("an import cycle", "gimg build", 4, &["import cycle not allowed"]).tree(|tree| {
        write(&tree.join("main.go"), "package main\n\nimport _ \"example.com/m/a\"\n\nfunc main() {}\n");
        write(&tree.join("a/a.go"), "package a\n\nimport _ \"example.com/m/b\"\n");
        write(&tree.join("b/b.go"), "package b\n\nimport _ \"example.com/m/a\"\n");
    }),
    row("no main function", "gimg build", 4, &["function main is undeclared", "go build for linux/amd64"])
        .tree(|tree| write(&tree.join("main.go"), "package main\n")),
    row("a package that isn't there", "gimg build", 4, &["main.go:3", "example.com/m/absent"]).tree(|tree| {
        write(&tree.join("main.go"), "package main\n\nimport _ \"example.com/m/absent\"\n\nfunc main() {}\n")
    }),
    row("a name twice", "gimg build ./a/app ./b/app", 2, &["would both be gimg-out/app"]).tree(|tree| {
        write(&tree.join("a/app/main.go"), "package main\n\nfunc main() {}\n");
        write(&tree.join("b/app/main.go"), "package main\n\nfunc main() {}\n");
    }),
];

pub(super) const KODATA: &[Row] = &[
    row("link to a file elsewhere", "gimg build", 3, &["kodata/x", "/etc/passwd", "must stay below"]).tree(
        |tree| {
            kodata(tree, "a");
            symlink("/etc/passwd", tree.join("kodata/x")).unwrap();
        },
    ),
    row("link to a directory elsewhere", "gimg build", 3, &["kodata/x", "/etc", "must stay below"]).tree(
        |tree| {
            kodata(tree, "a");
            symlink("/etc", tree.join("kodata/x")).unwrap();
        },
    ),
    row("link over another link elsewhere", "gimg build", 3, &["kodata/x", "/etc/passwd", "must stay below"])
        .tree(|tree| {
            kodata(tree, "a");
            symlink("../out", tree.join("kodata/x")).unwrap();
            symlink("/etc/passwd", tree.join("out")).unwrap();
        }),
    row("link to where it is", "gimg build", 3, &["kodata/x", "loops back"]).tree(|tree| {
        kodata(tree, "a");
        symlink(".", tree.join("kodata/x")).unwrap();
    }),
    row("two links to each other", "gimg build", 3, &["kodata/a", "the link points to b: a loop of links"])
        .tree(|tree| {
            kodata(tree, "c");
            symlink("b", tree.join("kodata/a")).unwrap();
            symlink("a", tree.join("kodata/b")).unwrap();
        }),
    row("link to nothing", "gimg build", 3, &["kodata/x", "missing, which isn't there"]).tree(|tree| {
        kodata(tree, "a");
        symlink("missing", tree.join("kodata/x")).unwrap();
    }),
    row("kodata links elsewhere", "gimg build", 3, &["kodata", "/etc", "must stay below"])
        .tree(|tree| symlink("/etc", tree.join("kodata")).unwrap()),
    row("kodata links to nothing", "gimg build", 3, &["kodata", "missing, which isn't there"])
        .tree(|tree| symlink("missing", tree.join("kodata")).unwrap()),
    row("kodata is a file", "gimg build", 3, &["kodata", "not a directory"])
        .tree(|tree| write(&tree.join("kodata"), "")),
    row("pipe", "gimg build", 3, &["kodata/pipe", "not a regular file"]).tree(|tree| {
        kodata(tree, "a");
        let made = std::process::Command::new("mkfifo").arg(tree.join("kodata/pipe")).status();
        assert!(made.unwrap().success());
    }),
    row("socket", "gimg build", 3, &["kodata/socket", "not a regular file"]).tree(|tree| {
        kodata(tree, "a");
        drop(std::os::unix::net::UnixListener::bind(tree.join("kodata/socket")).unwrap());
    }),
    row("name of a deletion", "gimg build", 3, &["ko/.wh.a", "deletions"]).tree(|tree| kodata(tree, ".wh.a")),
    row("name of an opaque directory", "gimg build", 3, &[".wh..wh..opq"])
        .tree(|tree| kodata(tree, "sub/.wh..wh..opq")),
    row("name that isn't UTF-8", "gimg build", 3, &["kodata", "isn't UTF-8"]).tree(|tree| {
        use std::os::unix::ffi::OsStrExt as _;
        kodata(tree, "a");
        write(&tree.join("kodata").join(std::ffi::OsStr::from_bytes(b"\xff")), "");
    }),
];

pub(super) const OUTPUTS: &[Row] = &[
    row("unknown kind", "gimg build --output tape:x", 2, &["registry, oci:DIR"]),
    row("empty", "gimg build --output=", 2, &["registry, oci:DIR"]),
    row("no path", "gimg build --output oci:", 2, &["registry, oci:DIR"]),
    row(
        "path of a registry",
        "gimg build --output registry:x --repo a.io/x",
        2,
        &["registry takes no path", "--repo"],
    ),
    row("standard output", "gimg build --output oci-archive:-", 2, &["no image to standard output", "./-"]),
    row(
        "one path twice",
        "gimg build --output oci:x --output oci-archive:./x",
        2,
        &["another output has the same path"],
    ),
    row(
        "docker-archive of two platforms",
        "gimg build --output docker-archive:f --platform linux/amd64,linux/arm64",
        2,
        &["holds one platform"],
    ),
    row(
        "docker-archive of a system",
        "gimg build --output docker-archive:f --platform linux",
        2,
        &["holds one platform"],
    ),
    row(
        "docker-archive with zstd",
        "gimg build --output docker-archive:f --compression zstd",
        2,
        &["reads no zstd"],
    ),
    row(
        "references in a directory",
        "gimg build --push=false --image-refs lib",
        9,
        &["it is a directory", "lib"],
    )
    .tree(|tree| write(&tree.join("lib/lib.go"), "package lib\n")),
    row("archive at a directory", "gimg build --output oci-archive:lib", 9, &["it is a directory", "lib"])
        .tree(|tree| write(&tree.join("lib/lib.go"), "package lib\n")),
    row(
        "archive at a device",
        "gimg build --output docker-archive:/dev/null",
        9,
        &["not a file", "/dev/null"],
    ),
    row(
        "archive below a file",
        "gimg build --output oci-archive:main.go/x",
        9,
        &["it is not a directory", "main.go"],
    ),
    row(
        "archive where nothing can be made",
        "gimg build --output oci-archive:/proc/none/x",
        9,
        &["/proc/none"],
    ),
    row("layout at a file", "gimg build --output oci:main.go", 9, &["it is a file", "main.go"]),
    row("layout below a file", "gimg build --output oci:main.go/x", 9, &["it is a file", "main.go/x"]),
    row(
        "layout among other files",
        "gimg build --output oci:lib",
        9,
        &["holds other files", "lib", "new or empty"],
    )
    .tree(|tree| write(&tree.join("lib/lib.go"), "package lib\n")),
    row(
        "layout of another version",
        "gimg build --output oci:l",
        3,
        &["unsupported layout version 2.0.0", "l/oci-layout"],
    )
    .tree(|tree| write(&tree.join("l/oci-layout"), "{\"imageLayoutVersion\":\"2.0.0\"}")),
    row("layout with a broken marker", "gimg build --output oci:l", 3, &["l/oci-layout", "line 1"])
        .tree(|tree| write(&tree.join("l/oci-layout"), "?")),
    row(
        "layout that isn't there, to push",
        "gimg push nowhere a.io/x",
        3,
        &["not an OCI image layout", "nowhere"],
    ),
    row("layout to a digest", "gimg push nowhere a.io/x@sha256:00", 2, &["can't push to a digest"]),
];

/// A `.ko.yaml`, or another file of that kind.
macro_rules! config {
    ($what:literal, $name:literal, $text:literal, $words:expr) => {
        row($what, "gimg build", 3, $words).tree(|tree| write(&tree.join($name), $text))
    };
}

pub(super) const CONFIG: &[Row] = &[
    config!(
        "broken YAML",
        ".ko.yaml",
        "defaultPlatforms: [linux/amd64\n",
        &["unclosed bracket", ".ko.yaml:1:19"]
    ),
    config!("broken JSON", ".ko.json", "{\"defaultBaseImage\":", &[".ko.json:1:"]),
    config!("broken TOML", ".ko.toml", "defaultBaseImage = \n", &[".ko.toml:1:"]),
    config!("no map", ".ko.yaml", "- a\n", &["it takes a map", ".ko.yaml:1:1"]),
    config!(
        "unknown key",
        ".ko.yaml",
        "\ndefaultBaseImg: x\n",
        &["unknown key \"defaultBaseImg\"", ".ko.yaml:2:1", "did you mean defaultBaseImage?"]
    ),
    config!(
        "unknown key of an entry",
        ".ko.yaml",
        "builds:\n- id: a\n  mian: .\n",
        &["unknown key \"mian\" in builds[0]", ".ko.yaml:3:3", "did you mean main?"]
    ),
    config!(
        "key twice",
        ".ko.yaml",
        "defaultBaseImage: a\ndefaultBaseImage: b\n",
        &["stands twice", ".ko.yaml:2:1"]
    ),
    config!("no list", ".ko.yaml", "builds: 7\n", &["builds: it takes a list", ".ko.yaml:1:9"]),
    config!(
        "aliases of aliases",
        ".ko.yaml",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
         d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n\
         f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\ndefaultFlags: *g\n",
        &["too large after its aliases are expanded", ".ko.yaml"]
    ),
    config!(
        "unknown architecture",
        ".ko.yaml",
        "defaultPlatforms: linux/amd65\n",
        &["defaultPlatforms", "\"amd65\""]
    ),
    config!(
        "base in upper case",
        ".ko.yaml",
        "defaultBaseImage: A/B\n",
        &["defaultBaseImage", "did you mean a/b"]
    ),
    config!(
        "entry without directory",
        ".ko.yaml",
        "builds:\n- main: ./nope\n",
        &["builds[0]", "no directory", "nope"]
    ),
    config!(
        "variable that isn't set",
        ".ko.yaml",
        "defaultFlags: [\"-tags={{.Env.NOPE}}\"]\n",
        &["flags", "environment variable NOPE not set"]
    ),
    config!(
        "field that isn't there",
        ".ko.yaml",
        "defaultLdflags: [\"{{.Nope}}\"]\n",
        &["ldflags", "there is no .Nope"]
    ),
    config!("template that isn't closed", ".ko.yaml", "defaultLdflags: [\"{{.Env\"]\n", &["isn't closed"]),
    config!(
        "-toolexec",
        ".ko.yaml",
        "defaultFlags: [\"-toolexec=/bin/evil\"]\n",
        &["-toolexec is not allowed"]
    ),
    config!("-o", ".ko.yaml", "builds: [{flags: \"-o x\"}]\n", &["-o is not allowed"]),
    config!("user of three", ".gimg.yaml", "image: {user: \"a:b:c\"}\n", &["image.user", "user[:group]"]),
    config!(
        "port that is none",
        ".gimg.yaml",
        "image: {exposedPorts: http}\n",
        &["image.exposedPorts", "\"http\""]
    ),
    config!("unknown naming", ".gimg.yaml", "naming: short\n", &["naming", "md5, base, preserve or bare"]),
    row("YAML without end", "gimg build", 3, &[".ko.yaml"])
        .tree(|tree| write(&tree.join(".ko.yaml"), &format!("builds: {}", "[".repeat(200_000)))),
    row("YAML in blocks without end", "gimg build", 3, &[".ko.yaml"])
        .tree(|tree| write(&tree.join(".ko.yaml"), &format!("builds: {}", "- ".repeat(200_000)))),
    row("JSON without end", "gimg build", 3, &[".ko.json"])
        .tree(|tree| write(&tree.join(".ko.json"), &"{\"a\":".repeat(200_000))),
    row("TOML without end", "gimg build", 3, &[".ko.toml"])
        .tree(|tree| write(&tree.join(".ko.toml"), &format!("a = {}", "[".repeat(200_000)))),
    row("keys of TOML without end", "gimg build", 3, &[".ko.toml"])
        .tree(|tree| write(&tree.join(".ko.toml"), &format!("{}a = 1\n", "a.".repeat(200_000)))),
    row("credentials without end", "gimg build --repo {host}/x", 6, &["config.json"])
        .env(&[("DOCKER_CONFIG", "docker")])
        .tree(|tree| write(&tree.join("docker/config.json"), &"{\"auths\":".repeat(200_000))),
    row("a lock file without end", "gimg build", 3, &["gimg.lock"])
        .tree(|tree| write(&tree.join("gimg.lock"), &format!("a = {}", "[".repeat(200_000)))),
    row("no such file", "gimg build --config none.yaml", 3, &["no such file", "none.yaml"]),
    row("no such file of the variable", "gimg build", 3, &["no such file"])
        .env(&[("KO_CONFIG_PATH", "none")]),
    row("overrides that aren't JSON", "gimg build", 2, &["KO_BASEIMAGEOVERRIDES", "it takes JSON"])
        .env(&[("KO_BASEIMAGEOVERRIDES", "a=b")]),
];
