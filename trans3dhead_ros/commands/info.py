"""`trans3dhead info`: what is in a checkpoint."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.device import resolve_device
from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_checkpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead info`; `ValueError` when the file is no checkpoint of ours."""
    parser = ArgumentParser(prog='trans3dhead info', description=__doc__.split(': ', 1)[1])
    parser.add_argument('model', nargs='?', type=Path, default=bundled_checkpoint(),
                        help='checkpoint (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    options = parser.parse_args(argv)
    network, metadata = load_checkpoint(options.model, resolve_device(options.device))
    weights = sum(p.numel() for p in network.parameters())
    head = network.head_model
    rows = {
        'file': f'{options.model} ({options.model.stat().st_size / 1e6:.1f} MB)',
        'weights': f'{weights / 1e6:.2f} million, tensors verified',
        'head': f'{head.mean.shape[0]} vertices, {head.triangles.shape[0]} triangles, '
                f'{head.shape_count} identity, {head.expression_count} expression coefficients',
    }
    rows |= {name: _text(value) for name, value in metadata.items()
             if name not in ('head_model', 'expression_names')}
    rows['expressions'] = ' '.join(head.expression_names)
    wide = max(map(len, rows))
    for name, text in rows.items():
        print(f'{name.replace("_", " "):{wide}}  {text}')
    return 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
