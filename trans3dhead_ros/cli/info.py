"""Describe a checkpoint or an exported file: its network, its licence and its figures."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError

if TYPE_CHECKING:
    import torch

_FIRST = ('format', 'format_version', 'licence', 'training_data', 'metrics', 'head_model',
          'network', 'input_size', 'colour_order', 'sha256')
_TITLES = {'weights': 'weights, million', 'multiply_adds': 'multiply-adds, million',
           'constants': 'constants, million', 'bytes': 'size, MB'}


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('model', nargs='?', type=Path,
                        help='checkpoint, or a file of `trans3dhead export` (default: the bundled '
                             'checkpoint)')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--device', default='cpu', help='auto, cpu, cuda or cuda:N')


def run(options: Namespace) -> int:
    """
    Describe a file.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: the file is missing, damaged or of another program.
    """
    from trans3dhead_ros.network.checkpoint import bundled_checkpoint
    from trans3dhead_ros.network.device import resolve_device
    about = describe(options.model or bundled_checkpoint(), resolve_device(options.device))
    if options.json:
        print(json.dumps(about, indent=2, ensure_ascii=False))
    else:
        rows = list(_rows(about))
        wide = max(len(title) for title, _ in rows)
        print('\n'.join(f'{title:{wide}}  {text}' for title, text in rows))
    return 0


def describe(path: Path, device: torch.device) -> dict[str, Any]:
    """
    Describe a file.

    :param path: a checkpoint, or a file of `trans3dhead export`.
    :param device: on which a checkpoint's network is loaded.
    :return: JSON values: file, bytes, kind, then what is known for that kind.
    :raises UserError: it is missing, damaged or of another program.
    """
    if not path.is_file():
        raise UserError(f'{path}: no such file')
    about = {'file': str(path), 'bytes': path.stat().st_size}
    if path.suffix == '.onnx':
        from trans3dhead_training.export.onnx_file import describe_onnx
        return about | describe_onnx(path)
    return about | _checkpoint(path, device)


def _checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    import torch

    from trans3dhead_ros.network.checkpoint import load_checkpoint
    from trans3dhead_ros.network.cost import multiply_adds, weight_count
    network, metadata = load_checkpoint(path, device)
    size = network.config.input_size
    crops = torch.zeros(1, 3, size, size, device=device)
    return {'kind': 'checkpoint, its tensors match their sha256',
            'weights': weight_count(network), 'multiply_adds': multiply_adds(network, crops),
            **{name: metadata[name] for name in (*_FIRST, *sorted({*metadata} - {*_FIRST}))}}


def _rows(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a title and a text for each value; metrics one a line, names last."""
    for name, value in about.items():
        title = _TITLES.get(name, name.replace('_', ' '))
        if name in ('expression_names', 'outputs'):
            continue
        if name in _TITLES:
            yield title, f'{value / 1e6:.2f}'
        elif name == 'head_model':
            yield title, ', '.join(f'{count} {part}' for part, count in value.items())
        elif name == 'metrics':
            yield from ((f'figure {key}', f'{figure:.4g}' if isinstance(figure, float)
                         else str(figure)) for key, figure in _flat(value))
        else:
            yield title, (value if isinstance(value, str)
                          else json.dumps(value, ensure_ascii=False))
    for name, text in about.get('outputs', {}).items():
        yield f'output {name}', text
    yield 'expressions', ' '.join(about['expression_names'])


def _flat(figures: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested figures under names such as `validation inner51_percent`."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{name} ')
        else:
            yield f'{prefix}{name}', value
