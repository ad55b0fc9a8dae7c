"""Describe a model or a head detector: its network, its licence and its figures."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trans3dhead_ros.arguments import ArgumentParser

_FIRST = ('format', 'format_version', 'licence', 'training_data', 'parent', 'metrics', 'head_model',
          'network', 'input_size', 'colour_order', 'sha256')
_TITLES = {'weights': 'weights, million', 'multiply_adds': 'multiply-adds, million',
           'constants': 'constants, million', 'pair': 'together with', 'bytes': 'size, MB'}


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('model', nargs='?', type=Path,
                        help="either file of a model, .safetensors or .onnx, or 'open' (default: "
                             'the bundled one)')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--device', default='cpu', help='auto, cpu, cuda or cuda:N')


def run(options: Namespace) -> int:
    """
    Describe a file.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: the file is missing, damaged or of another program.
    """
    from trans3dhead_ros.model_files.model_metadata import model_path
    about = describe(model_path(options.model), options.device)
    if options.json:
        print(json.dumps(about, indent=2, ensure_ascii=False))
    else:
        rows = list(_rows(about))
        wide = max(len(title) for title, _ in rows)
        print('\n'.join(f'{title:{wide}}  {text}' for title, text in rows))
    return 0


def describe(path: Path, device: str = 'cpu') -> dict[str, Any]:
    """
    Describe a file of a model.

    :param path: a checkpoint, or a file of `trans3dhead export`.
    :param device: on which a checkpoint's network is loaded, where torch is installed.
    :return: JSON values: file, bytes, kind, the other file of the model, then what is known.
    :raises UserError: a file is missing, damaged or of another program, or the two files are not of
        one network.
    """
    from trans3dhead_ros.inference.backends import choose_backend, is_installed
    from trans3dhead_ros.model_files.detector_files import is_detector, open_detector
    from trans3dhead_ros.model_files.model_pair import GRAPH_SUFFIX, open_model, read_verified
    detects = path.is_file() and is_detector(path)
    files = open_detector(path) if detects else open_model(path)
    about: dict[str, Any] = {'file': str(path), 'bytes': path.stat().st_size}
    if path.suffix == GRAPH_SUFFIX:
        other = files.checkpoint
        about |= {'kind': f'ONNX, opset {files.graph.opset}', 'constants': files.graph.constants}
    else:
        other = path.with_suffix(GRAPH_SUFFIX) if files.graph is not None else None
        about |= {'kind': 'checkpoint, its tensors match their sha256'}
        if is_installed('torch'):
            from trans3dhead_ros.inference.torch_engine import network_cost
            about |= network_cost(path, choose_backend('torch', device)[1])
        elif not detects:
            read_verified(path)
    if other is not None:
        about['pair'] = str(other)
    if not detects:
        about['gate'] = _gate(path, files.metadata['sha256'])
    return about | {name: files.metadata[name]
                    for name in (*_FIRST, *sorted({*files.metadata} - {*_FIRST}))
                    if name in files.metadata}


def _gate(path: Path, sha256: str) -> dict[str, Any] | None:
    """Return what `trans3dhead gate` found of a model; None where it was not judged."""
    from trans3dhead_ros.model_files.gate_verdict import read_verdict
    verdict = read_verdict(path, sha256)
    return None if verdict is None else {
        'passed': verdict.passed, 'against': verdict.current_sha256,
        'reasons': list(verdict.reasons)}


def _rows(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a title and a text for each value; metrics one a line, names last."""
    for name, value in about.items():
        title = _TITLES.get(name, name.replace('_', ' '))
        if name in ('expression_names', 'outputs'):
            continue
        if name in _TITLES and not isinstance(value, str):
            yield title, f'{value / 1e6:.2f}'
        elif name == 'gate':
            yield title, _gate_line(value)
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
    if 'expression_names' in about:
        yield 'expressions', ' '.join(about['expression_names'])


def _gate_line(gate: Mapping[str, Any] | None) -> str:
    if gate is None:
        return 'not judged'
    line = f'{"passed" if gate["passed"] else "failed"} against {gate["against"][:12]}'
    return '; '.join([line, *gate['reasons']])


def _flat(figures: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested figures under names such as `validation inner51_percent`."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{name} ')
        else:
            yield f'{prefix}{name}', value
