"""
Find and align the heads in pictures, independently of one another: no ids, no smoothing.

For a video, a camera, a bag or an ordered folder of frames use `trans3dhead track`.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.cli.losses import add_reading_arguments, check_bits, report_losses
from trans3dhead_ros.cli.pipeline_options import add_pipeline_arguments, load_pipeline
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.output_paths import check_outputs

if TYPE_CHECKING:
    from trans3dhead_ros.types import Image

_MAX_STEM_BYTES = 200


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('sources', nargs='+', metavar='SOURCE',
                        help="picture, folder of pictures, or a pattern such as 'photos/**/*.jpg'")
    parser.add_argument('--json', metavar='FILE',
                        help="write one JSON object per picture, in order; '-' is standard output")
    parser.add_argument('--output', type=Path, metavar='DIR',
                        help='write the pictures with the heads drawn to this folder')
    add_pipeline_arguments(parser)
    parser.add_argument('--fov', type=float, metavar='DEGREES',
                        help="the camera's horizontal field of view, for metric poses")
    add_reading_arguments(parser)


def run(options: Namespace) -> int:
    """
    Detect heads in pictures.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    files, losses = picture_files(options.sources)
    if not files:
        raise UserError(losses[0] if len(losses) == 1 else
                        f'none of {len(losses)} pictures can be read; the first: {losses[0]}')
    check_outputs({'json': options.json, 'output': options.output}, [*options.sources, *files],
                  options.force)
    # These take seconds to load: too long for a mistyped name or for the help.
    from tqdm import tqdm

    from trans3dhead_ros.camera import Camera
    from trans3dhead_ros.cli.output_files import line_writer, write_picture
    from trans3dhead_ros.media.overlay import draw_heads
    from trans3dhead_ros.media.records import frame_record, record_line
    check_bits(options)
    if options.fov is not None:
        Camera.from_fov((1, 1), options.fov)
    pipeline = load_pipeline(options)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    index = found = with_heads = 0
    notes = []
    with ExitStack() as stack:
        write_line = stack.enter_context(line_writer(options.json))
        bar = stack.enter_context(tqdm(files, unit='picture', leave=False, disable=None))
        for file, image, page, damaged in _pages(bar, options.bits, losses, notes):
            height, width = image.shape[:2]
            camera = None if options.fov is None else Camera.from_fov((width, height), options.fov)
            heads = pipeline.detect(image, camera)
            found, with_heads = found + len(heads), with_heads + bool(heads)
            record = frame_record(index, None, heads, file, page)
            write_line(record_line({**record, 'damaged': True} if damaged else record))
            if options.output:
                number = '' if page is None else f'_{page}'
                # Names have at most 255 bytes, and are not always UTF-8.
                stem = os.fsencode(Path(file).stem)[:_MAX_STEM_BYTES].decode(errors='ignore')
                write_picture(options.output / f'{index:06d}_{stem}{number}.png',
                              draw_heads(image, heads, pipeline.triangles))
            index += 1
    if not index:
        raise UserError(losses[0] if len(losses) == 1 else
                        f'none of {len(losses)} pictures can be read; the first: {losses[0]}')
    print(f'pictures: {index}, with heads: {with_heads}, heads: {found}'
          + (f', damaged or skipped: {len(losses)}' if losses else ''),
          file=sys.stderr if options.json == '-' else sys.stdout)
    return report_losses(options, losses, notes[:1])


def _pages(
    files: Iterable[str], bits: int, losses: list[str], notes: list[str],
) -> Iterator[tuple[str, Image, int | None, bool]]:
    """Yield each frame of each picture, and whether it is damaged; add losses to `losses`."""
    from trans3dhead_ros.media.bit_depth import BitDepth
    from trans3dhead_ros.media.sources import read_pages
    for file in files:
        # A new depth for each picture: another may be from another camera.
        depth = BitDepth(bits)
        try:
            count = len(losses)
            for image, _, page in read_pages(file, depth, losses):
                yield file, image, page, len(losses) > count
                count = len(losses)
        except UserError as error:
            losses.append(str(error))
        if depth.note:
            notes.append(f'{file}: {depth.note}')


def picture_files(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """
    Return the pictures that the sources name, in order, recognised by their content.

    :param sources: pictures, folders and patterns; those of a folder or a pattern are in natural
        order (2 before 10), and other files in it are ignored.
    :return: paths that begin as the source was given; and a line for each file that is named like a
        picture and is not one.
    :raises UserError: nothing is there, or it is not a picture.
    """
    from trans3dhead_ros.media.picture_format import PICTURE_SUFFIXES
    from trans3dhead_ros.media.sources import choose_pictures, natural_order, pictures_in
    files, losses = [], []
    for source in sources:
        is_folder = os.path.isdir(source)
        inside = [source] if os.path.isfile(source) else _matches(source)
        pictures, refused = pictures_in(source) if is_folder else choose_pictures(
            sorted(inside, key=natural_order))
        files, losses = files + pictures, losses + refused
        if pictures or refused:
            continue
        if os.path.isfile(source):
            raise UserError(f'source: {source} is not a picture; `trans3dhead track` takes '
                            'videos and bags')
        if glob.has_magic(source) and not inside and not is_folder:
            raise UserError(f'source: no file matches {source}')
        raise UserError(f'source: {source} ' + (
            'does not exist' if not inside and not is_folder else
            f'holds no picture ({" ".join(sorted(PICTURE_SUFFIXES))})'))
    return files, losses


def _matches(pattern: str) -> list[str]:
    """Return the paths that match a pattern, without those through a circle of linked folders."""
    first = len(Path(pattern.partition('**')[0]).parts)
    real = functools.cache(os.path.realpath)

    def in_circle(path: str) -> bool:
        folders = [real(folder) for folder in Path(path).parents if len(folder.parts) >= first]
        return len(set(folders)) < len(folders)
    paths = glob.glob(pattern, recursive=True)
    return [path for path in paths if not in_circle(path)] if '**' in pattern else paths
