"""The shell command: the only room that prints, reads the terminal or exits."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `nestlab` program. Everything else is imported once it is called."""
    try:
        from builder.cli.boundary import guarded
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(guarded(sys.argv[1:]))
