"""A table on disk that grows by rows, and forgets those that a broken run must repeat."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CsvLog:
    """
    Rows with a column `step`, which grows from row to row.

    A row may bring new columns; the others are empty there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def start(self, step: int) -> None:
        """Keep what was written up to this step; 0 begins anew."""
        rows = [row for row in self.rows() if int(row['step']) <= step] if step else []
        self._write(rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row behind the others."""
        if not set(row) <= set(self._columns):
            self._write([*self.rows(), {name: str(value) for name, value in row.items()}])
            return
        with self.path.open('a', newline='') as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def rows(self) -> list[dict[str, str]]:
        """Return what is there, '' where a row has no such column."""
        if not self.path.is_file():
            return []
        text = self.path.read_text()
        # A line without its end is one that a killed process did not finish.
        whole = text[:text.rfind('\n') + 1].splitlines()
        return list(csv.DictReader(whole, restval=''))

    def _write(self, rows: list[dict[str, str]]) -> None:
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        partial = self.path.with_name(f'.{self.path.name}.partial')
        with partial.open('w', newline='') as file:
            if rows:
                writer = csv.DictWriter(file, self._columns, restval='')
                writer.writeheader()
                writer.writerows(rows)
        partial.replace(self.path)
