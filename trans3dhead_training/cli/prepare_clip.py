"""Render a clip of two synthetic people turning their heads, with ground truth."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('folder', nargs='?', type=Path, default=Path('out/clip'),
                        help='output folder (default: %(default)s)')
    parser.add_argument('--data', type=Path,
                        help='folder of the raw data (default: TRANS3DHEAD_DATA)')
    parser.add_argument('--people', type=Path, default=Path('runs/people'),
                        help='cache of the registered assets of people (default: %(default)s)')
    parser.add_argument('--model', type=Path,
                        help='checkpoint whose head model the glasses are fitted to '
                             '(default: the bundled one)')


def run(options: Namespace) -> int:
    """
    Render the clip.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    from tqdm import tqdm

    from trans3dhead_ros.media.clip_truth import truth_path
    from trans3dhead_ros.network.checkpoint import load_head_model
    from trans3dhead_training.core.data_root import data_root
    from trans3dhead_training.synthesis.scenes.demo_clip import write_clip
    from trans3dhead_training.synthesis.scenes.scene_generator import SceneAssets
    assets = SceneAssets.load(options.data or data_root(), options.people,
                              load_head_model(options.model).cpu(), portraits=False)
    clip = write_clip(assets, options.folder,
                      progress=lambda frames: tqdm(frames, unit='frame', disable=None))
    print(f'{clip} and {truth_path(clip)}')
    return 0
