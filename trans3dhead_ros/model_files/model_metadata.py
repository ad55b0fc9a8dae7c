"""What the two files of a model say about themselves, checked before anything relies on it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError

FORMAT = 'trans3dhead'
FORMAT_VERSION = 1
COLOUR_ORDER = 'RGB'
PREPROCESSING = 'a square around the middle of the landmark box, crop_scale times its longer side'

MAX_INPUT_SIZE = 1024
"""px, far above the input of any network for a robot."""
MAX_CROP_SCALE = 10.0

CHECKPOINT_REMEDY = \
    'use a file written by `trans3dhead train` or `trans3dhead average` of this version'
EXPORT_REMEDY = 'make one with `trans3dhead export`'

# Name of a network that comes with the package → names of its files: the first that is installed,
# as a distribution may leave out weights that were trained on photographs for research only.
_BUNDLED = {
    'model': {'default': ('head_tracker', 'open'), 'open': ('open',)},
    'detector': {'default': ('head_detector', 'open_detector'), 'open': ('open_detector',)},
}
_MAX_NAME_LENGTH = 100
_EXPECTED = {
    'network': dict, 'expression_names': list, 'head_model': dict, 'input_size': int,
    'colour_order': str, 'sha256': str, 'training_data': object, 'licence': object,
    'metrics': dict}


def package_version() -> str:
    """Return the version of this package; 'not installed' for a checkout that is not."""
    try:
        return version('trans3dhead_ros')
    except PackageNotFoundError:
        return 'not installed'


def bundled_model(name: str = 'default') -> Path:
    """
    Return the path of a bundled model.

    :param name: 'default', or 'open', the one whose weights may be used for any purpose.
    :return: the path of its checkpoint, which may not be installed; the graph lies beside it.
    """
    return bundled_file('model', name)


def bundled_file(kind: str, name: str) -> Path:
    """
    Return the path of a bundled checkpoint.

    :param kind: 'model' or 'detector'.
    :param name: 'default' or 'open'.
    :return: the first of its files that is installed, else the path of the first.
    """
    folder = Path(__file__).resolve().parent.parent / 'models'
    paths = [folder / f'{file}.safetensors' for file in _BUNDLED[kind][name]]
    return next((path for path in paths if path.is_file()), paths[0])


def model_path(model: str | os.PathLike[str] | None) -> Path:
    """
    Return the path of a model.

    :param model: path of either file of a model, or the name of a bundled one, 'default' or 'open';
        None or '' is 'default'.
    :return: the path of one of its files.
    :raises UserError: this build does not include the model of that name.
    """
    return named_or_path('model', model)


def named_or_path(kind: str, given: str | os.PathLike[str] | None) -> Path:
    """
    Return the path of a network.

    :param kind: 'model' or 'detector'.
    :param given: path of either file, or the name of a bundled one; None or '' is 'default'.
    :return: the path of one of its files.
    :raises UserError: this build does not include the network of that name.
    """
    if not is_bundled_name(given):
        return Path(given)
    name = str(given or 'default')
    path = bundled_file(kind, name)
    if not path.is_file():
        raise UserError(f'{kind}: this build does not include the {kind} {name!r}; give a file')
    return path


def is_bundled_name(given: str | os.PathLike[str] | None) -> bool:
    """Return whether this is the name of a bundled model or detector rather than a path."""
    return not given or str(given) in _BUNDLED['model']


def parse_metadata(path: Path, texts: Mapping[str, str], kind: str, remedy: str) -> dict[str, Any]:
    """
    Parse the metadata of a file and check what can be checked without its weights.

    :param path: of the file, for messages.
    :param texts: JSON by name; a checkpoint has JSON throughout, and of an ONNX file a value that
        is not JSON is the text itself.
    :param kind: how a message begins that says whose file it is not.
    :param remedy: what to do about a wrong file.
    :return: JSON values by name.
    :raises ValueError: when the metadata are not those of a model of this format version.
    """
    metadata = parse_texts(path, texts, FORMAT, FORMAT_VERSION, f'{kind} of {FORMAT}', remedy)
    wrong = [name for name, kind in _EXPECTED.items()
             if name not in metadata or not isinstance(metadata[name], kind)]
    if not wrong and not all(_is_name(name) for name in metadata['expression_names']):
        wrong = ['expression_names']
    check_fields(path, metadata, wrong, 'crops', remedy)
    return metadata


def parse_texts(
    path: Path, texts: Mapping[str, str], form: str, version: int, foreign: str, remedy: str,
) -> dict[str, Any]:
    """
    Parse the metadata of a file of some format.

    :param path: of the file, for messages.
    :param texts: JSON by name.
    :param form: the name of the format.
    :param version: of the format.
    :param foreign: what a message says of a file of another format.
    :param remedy: what to do about a wrong file.
    :return: JSON values by name.
    :raises UserError: when they are not those of this format and version.
    """
    try:
        metadata = {name: json.loads(value, parse_constant=_refuse_constant)
                    for name, value in texts.items()}
    except (RecursionError, ValueError):
        metadata = {}
    if metadata.get('format') != form:
        raise UserError(f'{path}: {foreign}; {remedy}')
    if metadata.get('format_version') != version:
        raise UserError(f'{path}: format version {metadata.get("format_version")}, this program '
                        f'reads {version}; {remedy}')
    return metadata


def check_fields(
    path: Path, metadata: Mapping[str, Any], wrong: Sequence[str], pictures: str, remedy: str,
) -> None:
    """
    Refuse metadata with wrong fields, or of a network that takes other colours.

    :param path: of the file, for messages.
    :param metadata: of the file.
    :param wrong: names of the fields that are missing or damaged.
    :param pictures: what the network takes, for messages.
    :param remedy: what to do about a wrong file.
    :raises UserError: there are such fields, or the order of the colours is another one.
    """
    if wrong:
        raise UserError(f'{path}: metadata {", ".join(wrong)} missing or damaged; {remedy}')
    if metadata['colour_order'] != COLOUR_ORDER:
        raise UserError(f'{path}: made for {metadata["colour_order"]} {pictures}, this program '
                        f'uses {COLOUR_ORDER}; {remedy}')


def crop_settings(path: Path, metadata: Mapping[str, Any]) -> tuple[int, float]:
    """
    Return how crops for a network are made.

    :param path: of the file, for messages.
    :param metadata: as `parse_metadata` returns it.
    :return: side of the crop in px, and that side over the longer side of the landmark box.
    :raises ValueError: for values that no network has.
    """
    size, scale = metadata['input_size'], metadata['network'].get('crop_scale')
    if type(size) is not int or not 0 < size <= MAX_INPUT_SIZE:
        raise UserError(f'{path}: input_size {str(size)[:60]} is out of range for a network')
    if type(scale) not in (int, float) or not 0 < scale <= MAX_CROP_SCALE:
        raise UserError(f'{path}: crop_scale {str(scale)[:60]} is out of range for a network')
    return size, float(scale)


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        # Types as torch writes them, which has written the first checkpoints.
        digest.update(f'{name} torch.{array.dtype.name} {tuple(array.shape)}\n'.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _refuse_constant(text: str) -> None:
    raise ValueError(f'{text} is not a number')


def _is_name(value: Any) -> bool:
    """Return whether a value can be published as a short ROS string."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MAX_NAME_LENGTH
