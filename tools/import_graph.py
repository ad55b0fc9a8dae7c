"""Which files and folders of both packages import which, read from their source."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, TRAINING = 'trans3dhead_ros', 'trans3dhead_training'

Folder = tuple[str, str]
"""Package and folder, such as ('trans3dhead_ros', 'ros.node'); '' holds the files at the top."""


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {_module_name(path): path for package in (RUNTIME, TRAINING)
         for path in sorted((ROOT / package).rglob('*.py'))}
"""Full name of each module of both packages → its file."""


def is_interface(module: str) -> bool:
    """Tell whether a module is a package's `__init__`, the public interface above all folders."""
    return module in (RUNTIME, TRAINING)


def folder_of(module: str) -> Folder:
    """Return the folder of a module: ('trans3dhead_ros', 'ros.node') of its `image_worker`."""
    package, *folders = FILES[module].relative_to(ROOT).parts[:-1]
    return package, '.'.join(folders)


def own_imports(module: str) -> set[str]:
    """
    Return the modules of both packages that a module imports, also inside its functions.

    :param module: full name.
    :return: full names.
    :raises ValueError: it imports relatively.
    """
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f'{module} imports relatively')
            for alias in node.names:
                inner = f'{node.module}.{alias.name}'
                found.add(inner if inner in FILES else node.module)
    return {name for name in found if name in FILES and not is_interface(name)}


def folder_graph() -> dict[Folder, set[Folder]]:
    """Return, for each folder, the other folders that its files import."""
    graph = defaultdict(set)
    for module in FILES:
        if not is_interface(module):
            graph[folder_of(module)].update(map(folder_of, own_imports(module)))
    for folder, others in graph.items():
        others.discard(folder)
    return dict(graph)
