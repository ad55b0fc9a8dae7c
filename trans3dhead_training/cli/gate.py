"""
Compare a candidate with the model in use; it passes if nothing gets worse.

Both run on the same heads: bundled sets that are never used for training, and with --held-out your
own, on which the candidate must be better. The verdict is written next to the candidate, as
NAME.gate.json; `~/load_model` refuses a model that failed. Exit code 0: passed, 1: failed.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.model_files.gate_verdict import write_verdict


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('candidate', type=Path, help='either file of the candidate')
    parser.add_argument('--against', metavar='CURRENT',
                        help='either file of the model in use (default: the bundled one)')
    parser.add_argument('--held-out', type=Path, metavar='FOLDER',
                        help='shards of your own heads, not used for training: the target set')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--output', type=Path, metavar='FOLDER',
                        help='also write gate.json, gate.txt and gate.png to this folder')


def run(options: Namespace) -> int:
    """
    Judge a candidate and print the verdict.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: a model or a shard is missing or damaged, or a figure cannot be drawn.
    """
    from trans3dhead_training.gate.judge import judge
    from trans3dhead_training.gate.verdict_table import format_verdict
    verdict = judge(options.candidate, options.against, options.held_out)
    content = verdict.to_json()
    write_verdict(options.candidate, content)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    table = format_verdict(verdict)
    if options.output is not None:
        from trans3dhead_training.gate.verdict_plot import write_verdict_plot
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / 'gate.json').write_text(text + '\n', encoding='utf-8')
        (options.output / 'gate.txt').write_text(table + '\n', encoding='utf-8')
        write_verdict_plot(options.output / 'gate.png', verdict)
    print(text if options.json else table)
    return 0 if verdict.passed else 1
