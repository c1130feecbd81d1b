"""The command line. Every command parses, calls, prints and sets the exit status; the work is done elsewhere.

Nothing heavy is imported before a command runs, so that help and completion answer at once.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command `embedfit` and leave with its exit status."""
    from embedfit.cli.app import app

    app(prog_name="embedfit")
