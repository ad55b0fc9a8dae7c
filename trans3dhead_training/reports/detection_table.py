"""The evaluation of detectors as text."""

from __future__ import annotations

from collections.abc import Mapping

from trans3dhead_training.evaluation.detection_evaluation import DetectionResult


def format_detection(results: Mapping[str, DetectionResult]) -> str:
    """
    Return a table with a row for each figure and a column for each detector.

    :param results: by the name of the detector.
    :return: lines of text.
    """
    rows: dict[str, dict[str, str]] = {}
    for name, result in results.items():
        for key, value in result.metrics.items():
            entries = value.items() if isinstance(value, Mapping) else [('', value)]
            for part, number in entries:
                label = f'{key} {part} px' if part else key
                text = str(number) if isinstance(number, int) else (
                    f'{100 * number:.1f} %' if key.startswith(('recall', 'verified', 'kept'))
                    else f'{number:.3f}')
                rows.setdefault(label, {})[name] = text
    width = max(map(len, rows))
    lines = [' ' * width + ''.join(f'{name:>14s}' for name in results)]
    lines += [f'{label:{width}s}' + ''.join(f'{texts.get(name, "-"):>14s}' for name in results)
              for label, texts in rows.items()]
    return '\n'.join(lines)
