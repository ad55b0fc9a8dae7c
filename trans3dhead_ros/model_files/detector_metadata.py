"""What the two files of a head detector say about themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trans3dhead_ros.model_files.model_metadata import bundled_file, check_fields, parse_texts

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

USUAL_HEIGHT = 32.0
"""Height of a head, px, at which its size does not change its score."""
LOG_HEIGHT_RANGE = (-2.0, 0.35)
"""
Natural logarithm of heights in `USUAL_HEIGHT`; the scores of others are changed no more.

Only small heads have scores that are too low. Large ones are rare in pictures of crowds, and a
regression on their height there would distrust people near a robot.
"""

SCORE_FUSION = 'score_fusion'
"""Name of the weights of the evidence in the score of a head; absent where none were fitted."""
_FUSION_COUNT = 4

DETECTOR_REMEDY = 'use a file of `trans3dhead train` with the key task=detector, or its export'
_EXPECTED = {'network': dict, 'colour_order': str, 'sha256': str, 'training_data': object,
             'licence': object, 'metrics': dict}


def bundled_detector(name: str = 'default') -> Path:
    """
    Return the path of a bundled detector.

    :param name: 'default', or 'open', the one whose weights may be used for any purpose.
    :return: the path of its checkpoint, which may not be installed; the graph lies beside it.
    """
    return bundled_file('detector', name)


def parse_detector_metadata(path: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """
    Parse the metadata of a file and check what can be checked without its weights.

    :param path: of the file, for messages.
    :param texts: JSON by name.
    :return: JSON values by name.
    :raises UserError: when they are not those of a detector of this format version.
    """
    metadata = parse_texts(path, texts, DETECTOR_FORMAT, DETECTOR_FORMAT_VERSION,
                           'not a head detector of trans3dhead', DETECTOR_REMEDY)
    wrong = [name for name, kind in _EXPECTED.items()
             if not isinstance(metadata.get(name), kind) or metadata[name] is None]
    fusion = metadata.get(SCORE_FUSION)
    if fusion is not None and not (
            isinstance(fusion, list) and len(fusion) == _FUSION_COUNT
            and all(isinstance(value, (int, float)) and math.isfinite(value) for value in fusion)):
        wrong.append(SCORE_FUSION)
    check_fields(path, metadata, wrong, 'images', DETECTOR_REMEDY)
    return metadata
