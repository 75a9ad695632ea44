"""Prints the licences of every crate that is linked for a target, with their texts as the crates have them.

Usage: licences.py TARGET, in the project's directory.
"""

import json
import pathlib
import subprocess
import sys


def linked(target: str) -> list[dict]:
    """The packages that gimg's program is linked of, without build tools and proc macros."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen, queue = set(), [metadata["resolve"]["root"]]
    while queue:
        current = queue.pop()
        if current in seen:
            continue
        seen.add(current)
        for dependency in nodes[current]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                queue.append(dependency["pkg"])
    seen.discard(metadata["resolve"]["root"])
    macros = lambda package: any("proc-macro" in t["kind"] for t in package["targets"])
    found = [packages[one] for one in seen if not macros(packages[one])]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package: dict) -> list[pathlib.Path]:
    """The files in which a crate has its licences."""
    directory = pathlib.Path(package["manifest_path"]).parent
    begins = ("license", "licence", "copying", "notice", "unlicense")
    return sorted(p for p in directory.iterdir() if p.is_file() and p.name.lower().startswith(begins))


def main() -> None:
    for package in linked(sys.argv[1]):
        print(f"==== {package['name']} {package['version']}: {package['license'] or 'see below'}")
        print(f"     {package['repository'] or ''}\n")
        for text in texts(package):
            print(text.read_text(encoding="utf-8", errors="replace").rstrip(), end="\n\n")


main()
