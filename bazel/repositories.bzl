"""Where gimg is: a program of this machine. Nothing is downloaded."""

def _gimg_binary_impl(repository_ctx):
    path = repository_ctx.attr.path or repository_ctx.os.environ.get("GIMG_BIN", "")
    found = repository_ctx.path(path) if path else repository_ctx.which("gimg")
    if not found or not found.exists:
        fail("gimg is missing: set path, or the variable GIMG_BIN, or put it on PATH")
    repository_ctx.symlink(found, "gimg")
    repository_ctx.file("BUILD.bazel", """\
exports_files(["gimg"], visibility = ["//visibility:public"])
""")

gimg_binary = repository_rule(
    implementation = _gimg_binary_impl,
    doc = "A repository NAME with the program @NAME//:gimg. What is made by it is made again when its bytes change.",
    attrs = {
        "path": attr.string(doc = "The program. Without it: what GIMG_BIN names, else the gimg on PATH."),
    },
    environ = ["GIMG_BIN", "PATH"],
    local = True,
)
