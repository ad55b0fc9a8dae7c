"""
Find and align the heads in pictures, each on its own: no identities, no smoothing.

For a video, a camera, a bag or an ordered folder of frames use `trans3dhead track`.
"""

from __future__ import annotations

import glob
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.cli.pipeline_options import add_pipeline_arguments, load_pipeline
from trans3dhead_ros.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('sources', nargs='+', metavar='SOURCE',
                        help="picture, folder of pictures, or a pattern such as 'photos/**/*.jpg'")
    parser.add_argument('--json', metavar='FILE',
                        help="one JSON object a picture, in order; '-' is the standard output")
    parser.add_argument('--output', type=Path, metavar='DIR',
                        help='folder for the pictures with the heads drawn')
    add_pipeline_arguments(parser)
    parser.add_argument('--fov', type=float, metavar='DEGREES',
                        help="the camera's horizontal field of view, for metric poses")


def run(options: Namespace) -> int:
    """
    Detect heads in pictures.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    files = picture_files(options.sources)
    # These take seconds to load: too long for a mistyped name or for the help.
    from tqdm import tqdm

    from trans3dhead_ros.camera import Camera
    from trans3dhead_ros.cli.output_files import line_writer, write_picture
    from trans3dhead_ros.media.overlay import draw_heads
    from trans3dhead_ros.media.records import frame_record, record_line
    from trans3dhead_ros.media.sources import read_picture
    pipeline = load_pipeline(options)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    found = with_heads = 0
    with ExitStack() as stack:
        write_line = stack.enter_context(line_writer(options.json))
        bar = tqdm(files, unit='picture', leave=False, disable=None)
        for index, file in enumerate(stack.enter_context(bar)):
            image = read_picture(file)
            height, width = image.shape[:2]
            camera = None if options.fov is None else Camera.from_fov((width, height), options.fov)
            heads = pipeline.detect(image, camera)
            found, with_heads = found + len(heads), with_heads + bool(heads)
            write_line(record_line(frame_record(index, None, heads, file)))
            if options.output:
                write_picture(options.output / f'{index:06d}_{Path(file).stem}.png',
                              draw_heads(image, heads, pipeline.triangles))
    print(f'pictures: {len(files)}, with heads: {with_heads}, heads: {found}',
          file=sys.stderr if options.json == '-' else sys.stdout)
    return 0


def picture_files(sources: Sequence[str]) -> list[str]:
    """
    Return the pictures that are meant, in order.

    :param sources: pictures, folders and patterns; a folder holds its pictures in natural order
        (2 before 10), a pattern too, and neither anything else.
    :return: paths that begin as the source was given.
    :raises UserError: nothing is there, or it is not a picture.
    """
    from trans3dhead_ros.media.sources import PICTURE_SUFFIXES, natural_order
    files = []
    for source in sources:
        if os.path.isfile(source):
            if Path(source).suffix.lower() not in PICTURE_SUFFIXES:
                raise UserError(f'source: {source} is not a picture; `trans3dhead track` takes '
                                'videos, GIFs and bags')
            files.append(source)
            continue
        inside = ([os.path.join(source, name) for name in os.listdir(source)]
                  if os.path.isdir(source) else glob.glob(source, recursive=True))
        pictures = sorted((file for file in inside if Path(file).suffix.lower() in PICTURE_SUFFIXES
                           and os.path.isfile(file)), key=natural_order)
        if not pictures:
            missing = not inside and not os.path.isdir(source)
            raise UserError(f'source: {source} ' + (
                'does not exist' if missing else
                f'holds no picture ({" ".join(sorted(PICTURE_SUFFIXES))})'))
        files += pictures
    return files
