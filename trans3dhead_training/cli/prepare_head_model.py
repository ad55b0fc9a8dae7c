"""Build the head model, with fewer vertices and triangles, from a parametric head."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.fitting.head_basis import build_head_model, save_head_model_npz


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--source', type=Path,
                        help='the parametric head (default: head_model/ict_facekit.npz in '
                             'TRANS3DHEAD_DATA)')
    parser.add_argument('--output', type=Path, default=Path('runs/head_model.npz'),
                        help='file to write (default: %(default)s)')
    parser.add_argument('--skin-vertices', type=int, default=3200,
                        help='number of vertices of the skin (default: %(default)s)')
    parser.add_argument('--checkpoint', type=Path, nargs='?', const=bundled_model(),
                        help='take the head model of a checkpoint instead (without a value: of the '
                             'bundled one); training that starts from its weights needs the same '
                             'head model')


def run(options: Namespace) -> int:
    """
    Make the head model, or take it from a checkpoint.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if options.checkpoint:
        model = load_head_model(options.checkpoint).cpu()
    else:
        source = options.source or data_root() / 'head_model' / 'ict_facekit.npz'
        model = build_head_model(source, options.skin_vertices)
    save_head_model_npz(model, options.output)
    print(f'{options.output}: {len(model.mean)} vertices, {len(model.triangles)} triangles, '
          f'{model.shape_count} identity modes, {model.expression_count} expressions')
    return 0
