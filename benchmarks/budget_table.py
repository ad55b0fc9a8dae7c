"""Figures and their budgets, as the benchmarks print them."""

from __future__ import annotations

import json
from collections.abc import Mapping


def print_figures(figures: Mapping[str, float], budgets: Mapping[str, float], as_json: bool,
                  digits: int, row: str) -> None:
    """
    Print figures, and whether their budgets are kept.

    :param figures: by name.
    :param budgets: the largest value, by the name of the figure.
    :param as_json: print one JSON object instead, without the budgets.
    :param digits: of the JSON values.
    :param row: format of a name and a value.
    """
    if as_json:
        print(json.dumps({name: round(value, digits) for name, value in figures.items()}))
        return
    for name, value in figures.items():
        budget = budgets.get(name)
        note = '' if budget is None else \
            f'  budget {budget:g}: {"kept" if value <= budget else "MISSED"}'
        print(row.format(name, value) + note)
