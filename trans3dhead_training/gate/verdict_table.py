"""A verdict as text."""

from __future__ import annotations

from trans3dhead_training.gate.verdict import SAME, Comparison, Verdict

_TITLES = ('set', 'figure', 'samples', 'current', 'candidate', 'difference', '95 % interval', '')


def format_verdict(verdict: Verdict) -> str:
    """Return a table of all figures, smaller being better, and the verdict with its reasons."""
    rows = [_TITLES, *(_row(comparison) for comparison in verdict.comparisons)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = ['  '.join(
        cell.ljust(wide[column]) if column < 2 or column == 7 else cell.rjust(wide[column])
        for column, cell in enumerate(row)).rstrip() for row in rows]
    lines.append('')
    lines.append(f'{verdict.candidate.name} {verdict.candidate_sha256[:12]} against '
                 f'{verdict.current.name} {verdict.current_sha256[:12]}: '
                 f'{"passed" if verdict.passed else "failed"}')
    return '\n'.join([*lines, *(f'  {reason}' for reason in verdict.reasons)])


def _row(row: Comparison) -> tuple[str, ...]:
    low, high = row.interval
    return (row.part, row.figure, str(row.samples), f'{row.current:.3f} {row.unit}',
            f'{row.candidate:.3f} {row.unit}', f'{row.relative_percent:+.2f} %',
            f'{low:+.3f} … {high:+.3f}', '' if row.verdict == SAME else row.verdict)
