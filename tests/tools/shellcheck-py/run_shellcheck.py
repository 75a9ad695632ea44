"""Runs the ShellCheck that the package holds."""

import os
import sys

program = os.path.join(os.path.dirname(__file__), "bin", "shellcheck")
os.execv(program, [program, *sys.argv[1:]])
