"""Whether a line could have been printed by the code: its texts, with their gaps filled in."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

# What a gap holds when it is no text of ours: a name, a number, a list of names.
_VALUE = re.compile(r"\S+|\S+ \S*\d\S*|[\w.]+(, [\w.]+)+|'[^']*'")
_PREFIX = re.compile(r'\[(?:DEBUG|INFO|WARN|ERROR|FATAL)\] \[\S+\]: ')
_GAP = '\0'


class Printer:
    """All texts of the code under a folder, plain and formatted."""

    def __init__(self, folder: Path) -> None:
        texts = {line for path in folder.rglob('*.py')
                 for text in _texts(ast.parse(path.read_text())) for line in text.split('\n')}
        self._templates = [re.compile(_pattern(text), re.DOTALL) for text in sorted(texts)
                           if text.replace(_GAP, '').strip()]

    def could_print(self, line: str) -> bool:
        """Return whether a line, with or without its severity in front, consists of our texts."""
        return self._explained(_PREFIX.sub('', line, count=1), 0)

    @functools.cache  # noqa: B019 - lives as long as one test
    def _explained(self, text: str, depth: int) -> bool:
        if depth and _VALUE.fullmatch(text):
            return True
        matches = (template.fullmatch(text) for template in self._templates)
        return depth < 5 and any(
            match and all(self._explained(gap, depth + 1) for gap in match.groups())
            for match in matches)


def _pattern(text: str) -> str:
    return '(.+?)'.join(map(re.escape, text.split(_GAP)))


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        text = _text(node)
        if text:
            yield text


def _text(node: ast.AST) -> str:
    """Return a text with a gap for everything that is filled in, '' where the node is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return ''.join(_text(part) or _GAP for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_text(part) for part in (node.left, node.right)]
        return ''.join(part or _GAP for part in parts) if any(parts) else ''
    return ''
