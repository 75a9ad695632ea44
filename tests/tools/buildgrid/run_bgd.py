"""BuildGrid's own command line, as a module to run."""

from buildgrid.server.app import cli

if __name__ == "__main__":
    cli()
