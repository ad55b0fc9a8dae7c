"""
`trans3dhead ablate`: train the network with parts of the method left out or replaced, and compare.

Every variant runs for equally many steps with the same seeds, and begins with the same backbone.
Call it again to continue: finished runs are kept, broken ones go on. The folder of the runs then
holds report.md, runs.csv and ablation.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import bundled_checkpoint
from trans3dhead_training.ablation.ablation_plot import write_plot
from trans3dhead_training.ablation.ablation_report import write_report
from trans3dhead_training.ablation.outcomes import Outcomes
from trans3dhead_training.ablation.study import Study, run_all
from trans3dhead_training.ablation.variants import chosen_variants


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead ablate`; 1 where some of the runs failed."""
    parser = ArgumentParser(prog='trans3dhead ablate', description=__doc__)
    parser.add_argument('--config', type=Path, help='YAML of the base, as of `train`')
    parser.add_argument('--output', type=Path, default=Path('runs/ablation'),
                        help='folder of the runs (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=3, help='of every variant (default: 3)')
    parser.add_argument('--jobs', type=int, default=1, help='runs at once (default: 1)')
    parser.add_argument('--variants', default='', metavar='NAMES',
                        help='variants or families, separated by commas (default: all)')
    parser.add_argument('--backbone', default='bundled',
                        help='checkpoint whose backbone all begin with, `bundled` or `none`')
    parser.add_argument('--report-only', action='store_true',
                        help='train nothing; report what is finished')
    parser.add_argument('overrides', nargs='*', metavar='key=value',
                        help='of the base, for example steps=500')
    options = parser.parse_intermixed_args(argv)
    for name in ('seeds', 'jobs'):
        if getattr(options, name) < 1:
            raise UserError(f'--{name}: at least 1, got {getattr(options, name)}')
    failed = 0
    if not options.report_only:
        study = Study(options.output.absolute(), options.config, tuple(options.overrides),
                      chosen_variants([name for name in options.variants.split(',') if name]),
                      options.seeds, _backbone(options.backbone))
        failed = len(run_all(study.jobs(), options.jobs))
    outcomes = Outcomes.read(options.output)
    for path in (*write_report(options.output, outcomes),
                 write_plot(options.output / 'ablation.png', outcomes)):
        print(path)
    return 1 if failed else 0


def _backbone(name: str) -> Path | None:
    if name == 'none':
        return None
    path = bundled_checkpoint() if name == 'bundled' else Path(name)
    if not path.is_file():
        raise UserError(f'--backbone: no file {path}')
    return path.absolute()
