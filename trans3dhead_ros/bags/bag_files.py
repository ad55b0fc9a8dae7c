"""Which files and folders are ROS 2 bags."""

from __future__ import annotations

import re
from pathlib import Path

from trans3dhead_ros.errors import UserError

BAG_SUFFIXES = ('.mcap', '.db3')
COMPRESSED_FILE_SUFFIX = '.zstd'
"""What rosbag2 appends to the name of a file that it has compressed."""


def is_bag(source: str) -> bool:
    """
    Tell whether a source is a ROS 2 bag.

    :param source: as the user gives it.
    :return: whether it is one, by its extension or the content of its folder.
    :raises UserError: for a bag of ROS 1.
    """
    path = Path(source)
    if path.suffix == '.bag' and path.is_file():
        raise UserError(f'source: {path} is a bag of ROS 1; convert it first: '
                        f'rosbags-convert --src {path} --dst {path.with_suffix("")}')
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or any(
            {*file.suffixes} & {*BAG_SUFFIXES} for file in path.iterdir())
    return path.suffix in BAG_SUFFIXES


def bag_files(path: Path) -> list[Path]:
    """
    Return the files with the messages of a bag, in the order of their numbers.

    :param path: a file or the folder of a bag.
    :return: at least one file.
    :raises UserError: if there is none.
    """
    if path.is_file() and path.suffix in BAG_SUFFIXES:
        return [path]
    if path.is_dir():
        # Nobody may write to a pipe of that name.
        files = [file for file in path.iterdir() if {*file.suffixes} & {*BAG_SUFFIXES}
                 and file.suffix in (*BAG_SUFFIXES, COMPRESSED_FILE_SUFFIX) and file.is_file()]
        if files:
            return sorted(files, key=lambda file: [
                int(part) if part.isdigit() else part for part in re.split(r'(\d+)', file.name)])
    raise UserError(f'{path}: is not a ROS 2 bag (.mcap, .db3, or a folder with one of them)')
