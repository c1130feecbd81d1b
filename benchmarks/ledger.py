"""Rows of a long measurement, kept as they come: killed and started again, it goes on where it was."""

from __future__ import annotations

__all__ = ["Ledger"]

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Ledger:
    """Rows by their keys, in a JSON file or in memory alone.

    Args:
        path: of the file; none: nothing is kept.
        asked: what all rows have in common; rows of a file that was asked for something else are dropped.
    """

    def __init__(self, path: Path | None, asked: Mapping[str, Any]) -> None:
        self.path = path
        self.asked = dict(asked)
        self.rows: list[dict[str, Any]] = []
        if path is not None and path.is_file():
            kept = json.loads(path.read_text("utf-8"))
            self.rows = kept["rows"] if kept["asked"] == json.loads(json.dumps(self.asked)) else []

    def row(self, key: Mapping[str, Any], work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The row of this key: a known one, or worked out now, printed and kept."""
        known = next((row for row in self.rows if all(row.get(name) == value for name, value in key.items())), None)
        if known is not None:
            return known
        made = {**key, **work()}
        self.rows.append(made)
        print(json.dumps(made), flush=True)
        if self.path is not None:
            self.path.parent.mkdir(exist_ok=True)
            fresh = self.path.with_suffix(".new")  # killed while writing, nothing is lost
            fresh.write_text(self.text(), "utf-8")
            fresh.replace(self.path)
        return made

    def text(self) -> str:
        """The file: a row a line."""
        rows = ",\n".join(map(json.dumps, self.rows))
        return f'{{"asked": {json.dumps(self.asked)}, "rows": [\n{rows}\n]}}\n'

    def of(self, **key: Any) -> list[dict[str, Any]]:
        """All rows with these values."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in key.items())]
