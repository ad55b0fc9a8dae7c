"""What an exported file says of itself; nothing in it is executed."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import FORMAT
from trans3dhead_training.export.export_formats import METADATA_FILE

_AGAIN = 'make one with `trans3dhead export`'


def describe_onnx(path: Path) -> dict[str, Any]:
    """
    Return `kind`, `weights` and the metadata of an ONNX file.

    :raises ValueError: it is damaged, or not one of ours.
    """
    import onnx

    try:
        # Without data that lies beside it: ours have none, and a stranger's could name any file.
        model = onnx.load_model(str(path), format='protobuf', load_external_data=False)
    except Exception as error:  # protobuf's errors have no common class that is public
        if isinstance(error, OSError):
            raise
        raise UserError(f'{path}: truncated or not an ONNX file; {_AGAIN}') from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    weights = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    opset = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    return {'kind': f'ONNX, opset {opset}', 'constants': weights, **_ours(path, metadata)}


def describe_torch(path: Path) -> dict[str, Any]:
    """
    Return `kind` and the metadata of a TorchScript or `torch.export` file.

    :raises ValueError: it is not one of ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            inside = [name for name in names if name.endswith(f'extra/{METADATA_FILE}')]
            metadata = json.loads(archive.read(inside[0])) if inside else {}
    except (ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'{path}: a damaged archive ({error}); {_AGAIN}') from None
    scripted = any(name.endswith('constants.pkl') for name in names)
    return {'kind': 'TorchScript' if scripted else 'torch.export program', **_ours(path, metadata)}


def _ours(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get('format') != FORMAT:
        raise UserError(f'{path}: not a file of `trans3dhead export`; {_AGAIN}')
    return {name: _value(text) for name, text in metadata.items()}


def _value(text: str) -> Any:
    """Return a JSON value, or the text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
