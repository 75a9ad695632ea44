"""Go for this example: the toolchain of this machine as an input of actions. A real project takes rules_go."""

def _go_sdk_impl(repository_ctx):
    root = repository_ctx.os.environ.get("GOROOT", "")
    if not root:
        go = repository_ctx.which("go")
        if not go:
            fail("go is missing: put it on PATH, or set GOROOT")
        root = str(go.realpath.dirname.dirname)
    wanted = repository_ctx.attr.version
    version = repository_ctx.read(root + "/VERSION").split("\n")[0]
    if wanted and version != wanted:
        fail("this is {}, and {} is wanted".format(version, wanted))
    for name in ["bin", "pkg", "src", "VERSION", "go.env"]:
        repository_ctx.symlink(root + "/" + name, name)
    repository_ctx.file("BUILD.bazel", """\
filegroup(
    name = "go",
    srcs = ["bin/go"],
    visibility = ["//visibility:public"],
)

filegroup(
    name = "files",
    srcs = ["VERSION", "go.env"] + glob(
        ["bin/go", "pkg/tool/**", "pkg/include/**", "src/**"],
        exclude = ["src/cmd/**", "src/**/testdata/**", "src/**/*_test.go"],
    ),
    visibility = ["//visibility:public"],
)
""")

go_sdk = repository_rule(
    implementation = _go_sdk_impl,
    attrs = {"version": attr.string(doc = "The version that it must have, such as go1.26.8. Without it: any.")},
    environ = ["GOROOT", "PATH"],
    local = True,
)

def _go_program_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    module = ctx.file.module
    ctx.actions.run_shell(
        command = """\
set -eu
root=$PWD
export GOROOT="$root/$1" GOCACHE="$root/.cache" GOPATH="$root/.path" HOME="$root/.home"
export GOENV=off GOFLAGS= GOPROXY=off GOTOOLCHAIN=local GOWORK=off GOTELEMETRY=off
export CGO_ENABLED=0 GOOS="$2" GOARCH="$3"
mkdir "$GOCACHE" "$HOME"
# Go's build ID is a digest of the sources: without it, what they don't change in the program makes no new image.
"$GOROOT/bin/go" build -C "$4" -trimpath -buildvcs=false -ldflags=-buildid= -o "$root/$5" "$6"
rm -rf "$GOCACHE" "$HOME"
""",
        arguments = [
            ctx.file._go.dirname.rpartition("/")[0],
            ctx.attr.goos,
            ctx.attr.goarch,
            module.dirname or ".",
            program.path,
            ctx.attr.package,
        ],
        inputs = depset(ctx.files.srcs + [module], transitive = [ctx.attr._sdk.files]),
        outputs = [program],
        mnemonic = "GoBuild",
        progress_message = "Compiling " + str(ctx.label),
    )
    return [DefaultInfo(files = depset([program]), executable = program)]

go_program = rule(
    implementation = _go_program_impl,
    attrs = {
        "module": attr.label(allow_single_file = ["go.mod"], mandatory = True),
        "srcs": attr.label_list(allow_files = True),
        "package": attr.string(mandatory = True),
        "goos": attr.string(default = "linux"),
        "goarch": attr.string(mandatory = True),
        "_go": attr.label(default = "@go_sdk//:go", allow_single_file = True, cfg = "exec"),
        "_sdk": attr.label(default = "@go_sdk//:files", cfg = "exec"),
    },
    executable = True,
)
