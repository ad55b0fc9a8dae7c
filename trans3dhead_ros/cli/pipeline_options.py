"""The options that choose a pipeline, the same for every subcommand that runs one."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from trans3dhead_ros.arguments import ArgumentParser

if TYPE_CHECKING:
    from trans3dhead_ros.perception.pipeline import HeadPipeline


def add_pipeline_arguments(parser: ArgumentParser) -> None:
    """
    Declare `--model`, `--device` and `--detector`.

    :param parser: of a subcommand.
    """
    parser.add_argument('--model', type=Path, help='checkpoint (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--detector', default='cascade',
                        help='cascade, or a YuNet .onnx file (default: %(default)s)')


def load_pipeline(options: Namespace) -> HeadPipeline:
    """
    Load the pipeline that the options choose.

    :param options: with the arguments of `add_pipeline_arguments`.
    :return: the pipeline.
    :raises UserError: a file is missing or damaged, or there is no such device.
    """
    # PyTorch takes seconds to load: too long for a mistyped option or for the help.
    from trans3dhead_ros.perception.pipeline import HeadPipeline
    return HeadPipeline.load(options.model, options.device, detector=options.detector)
