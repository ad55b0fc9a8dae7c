"""`trans3dhead prepare clip`: a head that turns, rendered, with its ground truth."""

from collections.abc import Sequence
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead prepare clip`; `ValueError` for a user's mistake."""
    parser = ArgumentParser(prog='trans3dhead prepare clip', description=__doc__.split(': ', 1)[1])
    parser.add_argument('folder', nargs='?', type=Path, default=Path('out/clip'),
                        help='where the clip and its truth go (default: %(default)s)')
    parser.add_argument('--model', type=Path,
                        help='checkpoint whose head is rendered (default: the bundled one)')
    options = parser.parse_args(argv)
    from trans3dhead_ros.perception.render import load_head, write_turning_head
    from trans3dhead_ros.perception.truth import truth_path
    clip = write_turning_head(options.folder, load_head(options.model))
    print(f'{clip} and {truth_path(clip)}')
    return 0
