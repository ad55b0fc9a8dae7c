"""Configurations are frozen dataclasses, and each field is described by the string below it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any


def field_docs(config: type) -> dict[str, str]:
    """
    Return the description of every field of a dataclass that has one.

    :param config: a dataclass; fields that it inherits are described where they are declared.
    :return: field name → the string literal below the field, with white space collapsed.

    Example::

        @dataclass(frozen=True)
        class Exposure:
            seconds: float = 0.01
            \"\"\"Exposure time, s.\"\"\"

        field_docs(Exposure)  # {'seconds': 'Exposure time, s.'}
    """
    names = {entry.name for entry in fields(config)}
    docs: dict[str, str] = {}
    for base in reversed(config.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
        for declared, below in pairwise(body):
            if (isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name)
                    and declared.target.id in names and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                    and isinstance(below.value.value, str)):
                docs[declared.target.id] = ' '.join(below.value.value.split())
    return docs


def describe_keys(config: Any) -> str:
    """
    Return the text for `--help` that lists every key of a configuration.

    :param config: an instance, whose values are listed as the defaults.
    :return: for each key `key=default` and, indented below it, its description; keys of nested
        configurations are dotted.
    """
    lines = ['configuration keys and their defaults:']
    for key, value, text in _keys(config, ''):
        lines.append(f'  {key}={value}')
        lines += textwrap.wrap(text, 96, initial_indent=' ' * 6, subsequent_indent=' ' * 6)
    return '\n'.join(lines)


def _keys(config: Any, prefix: str) -> Iterator[tuple[str, Any, str]]:
    docs = field_docs(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _keys(value, f'{prefix}{field.name}.')
        else:
            yield prefix + field.name, value, docs.get(field.name, '')
