"""What the two files of a head detector say about themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_metadata import COLOUR_ORDER

DETECTOR_FORMAT = 'trans3dhead_detector'
DETECTOR_FORMAT_VERSION = 1
DETECTOR_STRIDE = 32
"""Sides of an image are multiples of this, px."""
DETECTOR_OUTPUTS = {
    'score': '(B, L) probability that a head is centred at a location',
    'face': '(B, L) probability that its face is seen',
    'up': '(B, L, 2) cosine and sine of its roll, clockwise in the image, 0 for an upright head',
    'head_box': '(B, L, 4) px, x0 y0 x1 y1 of the whole head with its hair',
    'landmark_box': '(B, L, 4) px, x0 y0 x1 y1 of the 68 landmarks, seen or not',
}
"""Outputs in the order of the file, and what each of them means; pixel centres are at integers."""

DETECTOR_REMEDY = 'use a file of `trans3dhead train` with the key task=detector, or its export'
_EXPECTED = {'network': dict, 'colour_order': str, 'sha256': str, 'training_data': object,
             'licence': object, 'metrics': dict}


def bundled_detector() -> Path:
    """Return the path of the detector that comes with the package."""
    return Path(__file__).resolve().parent.parent / 'models' / 'head_detector.safetensors'


def parse_detector_metadata(path: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """
    Parse the metadata of a file and check what can be checked without its weights.

    :param path: of the file, for messages.
    :param texts: JSON by name.
    :return: JSON values by name.
    :raises UserError: when they are not those of a detector of this format version.
    """
    try:
        metadata = {name: json.loads(value) for name, value in texts.items()}
    except (RecursionError, ValueError):
        metadata = {}
    if metadata.get('format') != DETECTOR_FORMAT:
        raise UserError(f'{path}: not a head detector of trans3dhead; {DETECTOR_REMEDY}')
    version = metadata.get('format_version')
    if version != DETECTOR_FORMAT_VERSION:
        raise UserError(f'{path}: format version {version}, this program reads '
                        f'{DETECTOR_FORMAT_VERSION}; {DETECTOR_REMEDY}')
    wrong = [name for name, kind in _EXPECTED.items()
             if not isinstance(metadata.get(name), kind) or metadata[name] is None]
    if wrong:
        raise UserError(f'{path}: metadata {", ".join(wrong)} missing or damaged; '
                        f'{DETECTOR_REMEDY}')
    if metadata['colour_order'] != COLOUR_ORDER:
        raise UserError(f'{path}: made for {metadata["colour_order"]} images, this program uses '
                        f'{COLOUR_ORDER}; {DETECTOR_REMEDY}')
    return metadata
