"""
Train the network with parts of the method left out or replaced, and compare.

All variants run for the same number of steps with the same seeds, and start from the same backbone.
Repeat the command to continue: finished runs are kept, interrupted ones resume. The output folder
then contains report.md and ablation.png.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.field_docs import describe_keys


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--config', type=Path,
                        help='YAML file of the base configuration, as for `train`')
    parser.add_argument('--output', type=Path, default=Path('runs/ablation'),
                        help='folder of the runs (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=3,
                        help='number of seeds for each variant (default: 3)')
    parser.add_argument('--jobs', type=int, default=1, help='parallel runs (default: 1)')
    parser.add_argument('--variants', default='', metavar='NAMES',
                        help='variants or families, separated by commas (default: all)')
    parser.add_argument('--backbone', default='bundled',
                        help='checkpoint from whose backbone all runs start, `bundled` or `none` '
                             '(default: %(default)s)')
    parser.add_argument('--report-only', action='store_true',
                        help='do not train; report on the finished runs')
    parser.add_argument('overrides', nargs='*', default=[], metavar='key=value',
                        help='change the base configuration, for example steps=500')


def epilog() -> str:
    """Return the keys of the configuration."""
    from trans3dhead_training.engine.config import TrainConfig
    return describe_keys(TrainConfig())


def run(options: Namespace) -> int:
    """
    Run the study and report it.

    :param options: as `add_arguments` declares them.
    :return: exit code; 1 where some of the runs failed.
    :raises UserError: for a user's mistake.
    """
    for name in ('seeds', 'jobs'):
        if getattr(options, name) < 1:
            raise UserError(f'--{name}: at least 1, got {getattr(options, name)}')
    from trans3dhead_training.ablation.ablation_plot import write_plot
    from trans3dhead_training.ablation.ablation_report import markdown
    from trans3dhead_training.ablation.ablation_results import Results
    from trans3dhead_training.ablation.ablation_runs import existing_runs, planned_runs, run_all
    from trans3dhead_training.ablation.variants import chosen_variants
    root, failed = options.output.absolute(), []
    if not options.report_only:
        names = [name for name in options.variants.split(',') if name]
        failed = run_all(planned_runs(
            root, options.config, options.overrides, chosen_variants(names), options.seeds,
            _backbone(options.backbone)), options.jobs)
    results = Results.read(existing_runs(root))
    if not results.metrics:
        raise UserError(f'--output: no run has finished in {root}')
    report, plot = root / 'report.md', root / 'ablation.png'
    report.write_text(markdown(results))
    write_plot(plot, results)
    print(f'{report}\n{plot}')
    return 1 if failed else 0


def _backbone(name: str) -> Path | None:
    from trans3dhead_ros.model_files.model_metadata import bundled_model
    if name == 'none':
        return None
    path = bundled_model() if name == 'bundled' else Path(name)
    if not path.is_file():
        raise UserError(f'--backbone: no file {path}')
    return path.absolute()
