"""Statistics of fits per source, and a contact sheet from the best to the worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.core.contact_sheet import contact_sheet
from trans3dhead_training.fitting.fit import Fit, box_units

TILE_PX = 192
GREEN, RED, CYAN = (90, 220, 90), (60, 60, 255), (230, 200, 60)


def summarize(fit: Fit, reason: np.ndarray, sources: Sequence[str]) -> dict[str, dict[str, object]]:
    """
    Return the statistics of each source and of 'all'.

    Counts, and of the accepted fits: residuals (% of the box), root mean square of the identity
    coefficients, range of the expressions, median distance (m).

    :param fit: of N faces.
    :param reason: (N,) see `rejection_reasons`.
    :param sources: (N,) names.
    :return: statistics by name, by source.
    """
    sources = np.asarray(sources)
    groups = {name: sources == name for name in sorted(set(sources))}
    groups['all'] = np.ones(len(sources), dtype=bool)
    return {name: _statistics(fit, reason, rows) for name, rows in groups.items()}


def _statistics(fit: Fit, reason: np.ndarray, rows: np.ndarray) -> dict[str, object]:
    kept = rows & (reason == '')
    figures: dict[str, object] = {
        'faces': int(rows.sum()), 'kept': int(kept.sum()),
        'reasons': dict(sorted(Counter(reason[rows & ~kept].tolist()).items()))}
    if not kept.any():
        return figures
    error = 100 * fit.inner_error.numpy()
    figures['residual_all_mean'] = round(float(np.nanmean(error[rows])), 3)
    error, expression = error[kept], fit.expression[kept]
    figures |= {
        'residual_mean': round(float(error.mean()), 3),
        'residual_median': round(float(np.median(error)), 3),
        'residual_p95': round(float(np.percentile(error, 95)), 3),
        'identity_rms': round(float(fit.shape[kept].square().mean().sqrt()), 3),
        'expression_range': [round(float(expression.min()), 3), round(float(expression.max()), 3)],
        'distance_m': round(float(1 / fit.inverse_distance[kept].median()), 2)}
    return figures


def format_table(figures: Mapping[str, Mapping[str, object]]) -> str:
    """Format what `summarize` returns as text."""
    lines = [f'{"source":10} {"faces":>6} {"kept":>12}  '
             'residual %: mean median   p95  identity rms']
    for name, row in figures.items():
        share = 100 * row['kept'] / max(row['faces'], 1)
        line = f'{name:10} {row["faces"]:6d} {row["kept"]:6d} {share:4.1f}%'
        if row['kept']:
            line += (f'  {row["residual_mean"]:16.2f} {row["residual_median"]:6.2f} '
                     f'{row["residual_p95"]:5.2f} {row["identity_rms"]:13.2f}')
        reasons = ', '.join(f'{count} {reason}' for reason, count in row['reasons'].items())
        lines.append(line + (f'  out: {reasons}' if reasons else ''))
    return '\n'.join(lines)


def fit_sheet(
    model: HeadModule, pictures: Sequence[Path], points: np.ndarray, fit: Fit, reason: np.ndarray,
    columns: int = 10,
) -> np.ndarray:
    """
    Draw the best, median and worst accepted fits, those at large yaw, and rejected ones.

    Labels are green, the fitted mesh is blue, its 68 points are red.

    :param model: of the fits.
    :param pictures: N files.
    :param points: (N, 68, 2) px, the labels, nan where a point is not labelled.
    :param fit: of N faces.
    :param reason: (N,) see `rejection_reasons`.
    :param columns: faces in a row.
    :return: (H, W, 3) BGR.
    """
    kept = np.flatnonzero(reason == '')
    order = kept[np.argsort(fit.inner_error.numpy()[kept])]
    middle = max(len(order) // 2 - columns // 2, 0)
    yaw = euler_from_rotation(fit.rotation)[:, 0].abs().numpy()
    turned = order[yaw[order] > 40]
    out = np.flatnonzero(reason != '')
    rows = [('best', order[:columns]), ('median', order[middle:middle + columns]),
            ('worst accepted', order[-columns:]),
            ('yaw > 40', turned[np.linspace(0, len(turned) - 1, columns).astype(int)]
             if len(turned) else turned),
            ('rejected', out[np.linspace(0, len(out) - 1, columns).astype(int)]
             if len(out) else out)]
    sheet: list[list[np.ndarray]] = []
    for title, chosen in rows:
        sheet.append([])
        for column, row in enumerate(chosen):
            tile = _tile(model, read_picture(pictures[row]), points[row], _one(fit, int(row)))
            note = f'{100 * float(fit.inner_error[row]):.2f}% yaw {yaw[row]:.0f}'
            for text, height in ((title if column == 0 else '', 12), (note, TILE_PX - 18),
                                 (str(reason[row]), TILE_PX - 6)):
                cv2.putText(tile, text, (3, height), cv2.FONT_HERSHEY_SIMPLEX, 0.35,
                            (255, 255, 255), 1, cv2.LINE_AA)
            sheet[-1].append(tile)
    return contact_sheet(sheet, background=40)


def _one(fit: Fit, row: int) -> Fit:
    return Fit(*(getattr(fit, name)[row:row + 1] for name in fit.__dataclass_fields__))


def _tile(model: HeadModule, image: np.ndarray, points: np.ndarray, fit: Fit) -> np.ndarray:
    _, centre, side = (value[0].numpy() for value in box_units(torch.from_numpy(points)[None]))
    scale = TILE_PX / (1.7 * side)
    to_tile = np.array([[scale, 0, TILE_PX / 2 - scale * centre[0]],
                        [0, scale, TILE_PX / 2 - scale * centre[1]]])
    tile = cv2.warpAffine(image, to_tile, (TILE_PX, TILE_PX), flags=cv2.INTER_AREA)
    vertices = model(fit.shape, fit.expression)
    seen = fit.in_picture(vertices)[0].numpy() * (TILE_PX / 3.4) + TILE_PX / 2
    corners = seen[model.triangles.numpy()]
    edge, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # With y down, the corners of a triangle that faces the camera run clockwise.
    facing = edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0] < 0
    mesh = tile.copy()
    cv2.polylines(mesh, list(np.round(corners[facing] * 16).astype(np.int32)), True, CYAN, 1,
                  cv2.LINE_AA, shift=4)
    tile = cv2.addWeighted(tile, 0.7, mesh, 0.3, 0)
    labelled = points[np.isfinite(points).all(-1)]
    for x, y in labelled @ to_tile[:, :2].T + to_tile[:, 2]:
        cv2.circle(tile, (round(x * 16), round(y * 16)), 24, GREEN, -1, cv2.LINE_AA, shift=4)
    for x, y in seen[model.landmark_indices.numpy()]:
        cv2.circle(tile, (round(x * 16), round(y * 16)), 14, RED, -1, cv2.LINE_AA, shift=4)
    return tile
