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
    Declare `--model`, `--device`, `--backend` and `--detector`.

    :param parser: of a subcommand.
    """
    parser.add_argument('--model', type=Path,
                        help="either file of a model, .onnx or .safetensors, or 'open' (default: "
                             'the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--backend', default='auto',
                        help='inference engine: onnxruntime, openvino, opencv or torch '
                             '(default: the first that is installed and can run the model)')
    parser.add_argument('--detector', default='',
                        help="either file of a head detector, a YuNet .onnx file, or 'open' "
                             '(default: the bundled detector)')


def load_pipeline(options: Namespace, threads: int = 0) -> HeadPipeline:
    """
    Load the pipeline that the options choose.

    :param options: with the arguments of `add_pipeline_arguments`.
    :param threads: of the CPU for the network; 0 is at most two.
    :return: the pipeline.
    :raises UserError: a file is missing or damaged, or there is no such device or engine.
    """
    # Engines take seconds to load: too long for a mistyped option or for the help.
    from trans3dhead_ros.perception.pipeline import HeadPipeline
    return HeadPipeline.load(options.model, options.device, options.backend, options.detector,
                             threads=threads)
