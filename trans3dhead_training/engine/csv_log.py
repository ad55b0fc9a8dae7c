"""The tables of a training: CSV files that grow by rows, and the means that fill the rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CsvLog:
    """
    A CSV file with a column `step` that increases from row to row.

    A row may bring new columns; they are empty in the other rows.

    :param path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def start(self, step: int) -> None:
        """Keep the rows up to this step, which a resumed run does not repeat; 0 keeps none."""
        rows = [row for row in self.rows() if int(row['step']) <= step] if step else []
        self._write(rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one more row."""
        if not set(row) <= set(self._columns):
            self._write([*self.rows(), {name: str(value) for name, value in row.items()}])
            return
        with self.path.open('a', newline='') as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def rows(self) -> list[dict[str, str]]:
        """Return all rows; '' where a row does not have a column."""
        if not self.path.is_file():
            return []
        text = self.path.read_text()
        # A last line without its end was cut off when the process was killed.
        complete = text[:text.rfind('\n') + 1].splitlines()
        return list(csv.DictReader(complete, restval=''))

    def _write(self, rows: list[dict[str, str]]) -> None:
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        partial = self.path.with_name(f'.{self.path.name}.partial')
        with partial.open('w', newline='') as file:
            if rows:
                writer = csv.DictWriter(file, self._columns, restval='')
                writer.writeheader()
                writer.writerows(rows)
        partial.replace(self.path)


class MeanMeter:
    """
    Running means of named numbers.

    :param sums: of each name, where a resumed run continues.
    :param count: how many values each sum has.
    """

    def __init__(self, sums: Mapping[str, float] | None = None, count: int = 0) -> None:
        self.sums, self.count = dict(sums or {}), count

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of one step."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """Return the means and start again from nothing."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means
