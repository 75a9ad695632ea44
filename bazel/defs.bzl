"""Container images of Go programs, made by gimg.

An action gets its inputs and says its outputs; it needs no network, no HOME and no cache. The rules load nothing from
elsewhere, so they work beside any others: docs/bazel.md shows rules_go, rules_oci and rules_img.
"""

GimgImageInfo = provider(
    doc = "An image, or an index of images.",
    fields = {
        "layout": "The OCI image layout: a directory whose index.json has one manifest.",
        "digest": "A file with the digest of the manifest or index, and nothing else.",
        "platforms": "A list of the platforms, such as linux/amd64.",
        "pack": "How it was made: a struct of arguments, inputs and env. For gimg_load alone.",
    },
)

GimgLayerInfo = provider(
    doc = "One layer.",
    fields = {
        "blob": "The layer's file.",
        "metadata": "A JSON file with diff_id, mediaType, digest, size, annotations and history, as rules_img reads it.",
        "media_type": "The layer's media type.",
    },
)

# ---- Where gimg is ----

# Not a toolchain: to choose one, Bazel 4 loads every registered one, Java's too, and downloads what those load.
_GIMG = {
    "gimg": attr.label(
        allow_single_file = True,
        cfg = "exec",
        default = "//:gimg",
        doc = "The program. Without it: what the flag --@rules_gimg//:gimg names, else @gimg//:gimg.",
        executable = True,
    ),
}

# Links lead from a sandbox to where inputs are; which of them there are is Bazel's business.
_ENV = {
    "GIMG_CACHE": "off",
    "KO_DATA_PATH_ALLOWED_ROOT": "/",
}

def _run(ctx, arguments, inputs, outputs, mnemonic, progress_message):
    args = ctx.actions.args()

    # A long list goes into a file, which gimg reads as @FILE.
    args.use_param_file("@%s", use_always = False)
    args.set_param_file_format("multiline")
    args.add_all(arguments)
    ctx.actions.run(
        executable = ctx.executable.gimg,
        arguments = [args],
        inputs = inputs,
        outputs = outputs,
        env = _ENV,
        mnemonic = mnemonic,
        progress_message = progress_message,
    )

# ---- Images ----

_IMAGE_ATTRS = dict(
    _GIMG,
    base = attr.label(
        allow_files = True,
        doc = "What it stands on: an OCI image layout. A directory (gimg_image, gimg_index, oci_image), or the files of one.",
    ),
    base_image = attr.string(
        default = "static",
        doc = "What it stands on without base: static, static@N or scratch. Another would need a network.",
    ),
    program = attr.string(doc = "The program's name, or with a slash its path in the image."),
    import_path = attr.string(doc = "What the program is called, if it doesn't say so itself."),
    files = attr.label_keyed_string_dict(
        allow_files = True,
        doc = "Files and directories, and where each goes: an absolute path. Each is a layer.",
    ),
    kodata = attr.label(allow_single_file = True, doc = "A directory that becomes kodata."),
    compression = attr.string(default = "gzip", doc = "gzip[:1-9], zstd[:1-19] or none."),
    labels = attr.string_dict(doc = "Labels of the config."),
    annotations = attr.string_dict(doc = "Annotations of manifests and index."),
    env = attr.string_dict(doc = "Environment of the program, over the base's."),
    user = attr.string(doc = "The user to run as. Without it: the base's."),
    working_dir = attr.string(doc = "Where the program starts."),
    cmd = attr.string_list(doc = "Arguments that the program gets if none are given."),
    entrypoint = attr.string_list(doc = "A command to put before the program, such as an init."),
    exposed_ports = attr.string_list(doc = "Ports that the program listens on."),
    volumes = attr.string_list(doc = "Directories for volumes."),
    stop_signal = attr.string(doc = "The signal that stops the program."),
)

def _layout_of(target):
    """The path of an OCI image layout, and its files."""
    files = target[GimgImageInfo].layout if GimgImageInfo in target else None
    files = [files] if files else target.files.to_list()
    if len(files) == 1 and files[0].is_directory:
        return files[0].path, files
    markers = [f for f in files if f.basename == "oci-layout"]
    if len(markers) != 1:
        fail("{} is no OCI image layout: neither a directory nor files with one oci-layout".format(target.label))
    return markers[0].dirname, files

def _single(target):
    files = target.files.to_list()
    if len(files) != 1:
        fail("{} has {} files, and one is wanted".format(target.label, len(files)))
    return files[0]

def _literal(text):
    # Values of the configuration file are templates.
    return text.replace("{{", "{{\"{{\"}}")

def _configuration(ctx):
    """What gimg reads in place of a .gimg.yaml: what is set of the image, and its files."""
    image = {
        "env": {key: _literal(value) for key, value in ctx.attr.env.items()},
        "cmd": ctx.attr.cmd,
        "entrypoint": ctx.attr.entrypoint,
        "exposedPorts": ctx.attr.exposed_ports,
        "volumes": ctx.attr.volumes,
        "user": ctx.attr.user,
        "workingDir": ctx.attr.working_dir,
        "stopSignal": ctx.attr.stop_signal,
    }
    return {
        "image": {key: value for key, value in image.items() if value},
        "files": [
            {"from": _single(target).path, "to": to}
            for target, to in ctx.attr.files.items()
        ],
    }

def _make_image(ctx, binaries):
    """An image of these pairs of platform and program."""
    configuration = ctx.actions.declare_file(ctx.label.name + ".gimg.json")
    ctx.actions.write(configuration, json.encode(_configuration(ctx)) + "\n")
    inputs = [configuration] + [file for _, file in binaries]
    arguments = ["pack", "--quiet", "--config", configuration.path]
    for platform, file in binaries:
        arguments += ["--binary", "{}={}".format(platform, file.path)]
    if ctx.attr.base:
        path, files = _layout_of(ctx.attr.base)
        arguments += ["--base", "oci:" + path]
        inputs += files
    elif ctx.attr.base_image == "scratch" or ctx.attr.base_image.split("@")[0] == "static":
        arguments += ["--base", ctx.attr.base_image]
    else:
        fail("base_image is static, static@N or scratch; another base is an OCI image layout, in base")
    for flag, value in [("--program", ctx.attr.program), ("--import-path", ctx.attr.import_path)]:
        if value:
            arguments += [flag, value]
    if ctx.file.kodata:
        arguments += ["--kodata", ctx.file.kodata.path]
        inputs.append(ctx.file.kodata)
    arguments += ["--compression", ctx.attr.compression]
    arguments += ["--image-label={}={}".format(*pair) for pair in ctx.attr.labels.items()]
    arguments += ["--image-annotation={}={}".format(*pair) for pair in ctx.attr.annotations.items()]
    inputs += [_single(target) for target in ctx.attr.files]

    layout = ctx.actions.declare_directory(ctx.label.name)
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    _run(
        ctx,
        arguments + ["--output", "oci:" + layout.path, "--digest-file", digest.path],
        depset(inputs),
        [layout, digest],
        "GimgPack",
        "Packing image " + str(ctx.label),
    )
    return [
        DefaultInfo(files = depset([layout]), runfiles = ctx.runfiles(files = [layout])),
        OutputGroupInfo(digest = depset([digest])),
        GimgImageInfo(
            layout = layout,
            digest = digest,
            platforms = [platform for platform, _ in binaries],
            pack = struct(arguments = arguments, inputs = depset(inputs)),
        ),
    ]

def _gimg_image_impl(ctx):
    return _make_image(ctx, [(ctx.attr.platform, ctx.file.binary)])

gimg_image = rule(
    implementation = _gimg_image_impl,
    doc = "An image of one program for one platform: an OCI image layout. Output group digest: its digest in a file.",
    attrs = dict(
        _IMAGE_ATTRS,
        binary = attr.label(allow_single_file = True, mandatory = True, doc = "The program."),
        platform = attr.string(default = "linux/amd64", doc = "What it is compiled for: os/arch[/variant]."),
    ),
)

def _gimg_index_impl(ctx):
    return _make_image(ctx, [(platform, _single(target)) for target, platform in ctx.attr.binaries.items()])

gimg_index = rule(
    implementation = _gimg_index_impl,
    doc = "An image of one program for several platforms: an OCI image layout of an index. Output group digest: its digest.",
    attrs = dict(
        _IMAGE_ATTRS,
        binaries = attr.label_keyed_string_dict(
            allow_empty = False,
            allow_files = True,
            mandatory = True,
            doc = "The program of each platform, and what it is compiled for; the index has them in this order.",
        ),
    ),
)

# ---- Layers ----

_ENDINGS = {
    "gzip": (".tar.gz", "application/vnd.oci.image.layer.v1.tar+gzip"),
    "zstd": (".tar.zst", "application/vnd.oci.image.layer.v1.tar+zstd"),
    "none": (".tar", "application/vnd.oci.image.layer.v1.tar"),
}

def _gimg_layer_impl(ctx):
    method = ctx.attr.compression.split(":")[0]
    if method not in _ENDINGS:
        fail("compression is gzip[:1-9], zstd[:1-19] or none")
    ending, media_type = _ENDINGS[method]
    blob = ctx.actions.declare_file(ctx.label.name + ending)
    metadata = ctx.actions.declare_file(ctx.label.name + ".json")
    arguments = ["layer", "--quiet", "--compression", ctx.attr.compression]
    inputs = []
    if ctx.file.binary:
        arguments += ["--binary", "{}={}".format(ctx.attr.platform, ctx.file.binary.path)]
        inputs.append(ctx.file.binary)
        if ctx.attr.program:
            arguments += ["--program", ctx.attr.program]
    for target, to in ctx.attr.files.items():
        file = _single(target)
        arguments += ["--file", "{}={}".format(file.path, to)]
        inputs.append(file)
    arguments += ["--layer-annotation={}={}".format(*pair) for pair in ctx.attr.annotations.items()]
    arguments += ["--out", blob.path, "--metadata", metadata.path]
    _run(ctx, arguments, depset(inputs), [blob, metadata], "GimgLayer", "Packing layer " + str(ctx.label))
    return [
        DefaultInfo(files = depset([blob])),
        OutputGroupInfo(metadata = depset([metadata])),
        GimgLayerInfo(blob = blob, metadata = metadata, media_type = media_type),
    ]

gimg_layer = rule(
    implementation = _gimg_layer_impl,
    doc = "One layer, for other rules that make images. Output group metadata: what rules_img reads about it.",
    attrs = dict(
        _GIMG,
        binary = attr.label(allow_single_file = True, doc = "The program."),
        platform = attr.string(default = "linux/amd64", doc = "What it is compiled for: os/arch[/variant]."),
        program = attr.string(doc = "The program's name, or with a slash its path in the image."),
        files = attr.label_keyed_string_dict(
            allow_files = True,
            doc = "Files and directories, and where each goes: an absolute path.",
        ),
        compression = attr.string(default = "gzip", doc = "gzip[:1-9], zstd[:1-19] or none (as rules_oci likes it)."),
        annotations = attr.string_dict(doc = "Annotations of the layer's descriptor."),
    ),
)

# ---- What `bazel run` does ----

def _quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"

def _runfile(ctx, file):
    """A file of the runfiles as a word of the script."""
    path = file.short_path
    path = path[3:] if path.startswith("../") else ctx.workspace_name + "/" + path
    return "\"$runfiles\"/" + _quoted(path)

def _script(ctx, command, files):
    """A program that runs a command, a list of words of the shell."""
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(script, """\
#!/bin/sh
set -eu
# Bazel says where the runfiles are, or they are beside the program.
runfiles=${{RUNFILES_DIR:-$0.runfiles}}
exec {} "$@"
""".format(" ".join(command)), is_executable = True)
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(files = files))]

def _gimg_push_impl(ctx):
    path, files = _layout_of(ctx.attr.image)
    if len(files) != 1:
        fail("{} is no directory".format(ctx.attr.image.label))
    command = [_runfile(ctx, ctx.executable.gimg), "push"]
    for tag in ctx.attr.remote_tags:
        command.append(_quoted("--tags=" + tag))
    command.append(_runfile(ctx, files[0]))
    if ctx.attr.repository:
        command.append(_quoted(ctx.attr.repository))
    return _script(ctx, command, [ctx.executable.gimg] + files)

gimg_push = rule(
    implementation = _gimg_push_impl,
    doc = "`bazel run` pushes an image by digest, then moves its tags. Further arguments are those of gimg push.",
    attrs = dict(
        _GIMG,
        image = attr.label(mandatory = True, doc = "A gimg_image, a gimg_index, or another OCI image layout directory."),
        repository = attr.string(doc = "Where to. Without it: the first argument after --."),
        remote_tags = attr.string_list(doc = "Tags. Without them: latest."),
    ),
    executable = True,
)

def _gimg_load_impl(ctx):
    pack = ctx.attr.image[GimgImageInfo].pack
    if len(ctx.attr.image[GimgImageInfo].platforms) != 1:
        fail("an engine takes one platform: name a gimg_image")
    archive = ctx.actions.declare_file(ctx.label.name + ".tar")
    name = ["--repo", ctx.attr.repository, "--bare", "--tags", ctx.attr.tag]
    arguments = pack.arguments + name + ["--output", "docker-archive:" + archive.path]
    _run(ctx, arguments, pack.inputs, [archive], "GimgArchive", "Packing archive " + str(ctx.label))
    return _script(ctx, [ctx.attr.engine, "load", "--input", _runfile(ctx, archive)], [archive])

gimg_load = rule(
    implementation = _gimg_load_impl,
    doc = "`bazel run` loads an image of one platform into a container engine.",
    attrs = dict(
        _GIMG,
        image = attr.label(mandatory = True, providers = [GimgImageInfo], doc = "A gimg_image."),
        engine = attr.string(default = "docker", values = ["docker", "podman"], doc = "Whose command is run."),
        repository = attr.string(mandatory = True, doc = "What the engine calls it."),
        tag = attr.string(default = "latest", doc = "Its tag."),
    ),
    executable = True,
)
