"""Prints an SBOM of cargo-cyclonedx as the same commit always gives it: no path of the machine, no number drawn by lot, the
commit's time.

Usage: sbom.py FILE ROOT SECONDS
"""

import datetime
import json
import sys


def main() -> None:
    file, root, seconds = sys.argv[1:]
    with open(file, encoding="utf-8") as text:
        document = json.loads(text.read().replace(f"path+file://{root}", "path+file:///gimg"))
    document.pop("serialNumber", None)
    time = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
    document["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert root not in json.dumps(document), "it names a path of this machine"
    json.dump(document, sys.stdout, indent=2)
    print()


main()
