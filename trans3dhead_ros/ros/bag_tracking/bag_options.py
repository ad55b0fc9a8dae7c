"""Check the options of `track BAG`: output, namespace, parameters, topics to copy."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from rclpy.exceptions import InvalidNamespaceException
from rclpy.validate_namespace import validate_namespace

from trans3dhead_ros.bags.bag_writer import STORAGE_SUFFIXES, check_replaceable
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters, tracker_specs

LARGE_TOPICS = {'markers': ('head_markers',), 'mesh': ('head_mesh', 'head_mesh/triangles'),
                'overlay': ('overlay',)}
"""Option -> topics that are written only with it, because they are large."""

_GIVEN_ELSEWHERE = {'model': '--model', 'device': '--device', 'detector': '--detector',
                    'cameras': '--topic and --namespace'}
# The other parameters are about images that arrive live.
_PARAMETERS = (
    'image_rectified', 'max_image_pixels', 'significant_bits', 'new_track_threshold',
    'keep_track_threshold', 'max_missed_frames', 'search_interval', 'max_unconfirmed_time',
    'head_scale', 'head_size_uncertainty', 'smoothing', 'smoothing_min_cutoff', 'smoothing_beta',
    'smoothing_derivative_cutoff', 'head_frame_prefix', 'publish_tf')


def checked_output(source: Path, output: Path | None, force: bool) -> Path:
    """
    Return where the new bag goes.

    :param source: the bag that is read.
    :param output: the option.
    :param force: whether an existing bag may be replaced.
    :return: `output`.
    :raises UserError: if a bag cannot be written there.
    """
    suffixes = ' or '.join(STORAGE_SUFFIXES.values())
    if output is None:
        raise UserError(f'output: name the bag to write ({suffixes}, or a folder)')
    if output.suffix and output.suffix not in STORAGE_SUFFIXES.values():
        raise UserError(f'output: {output} does not have the suffix of a bag ({suffixes}); '
                        'the name of a folder has no suffix')
    # A file system may not tell capitals apart, and a file may have several names.
    same = output.exists() and source.exists() and output.samefile(source)
    source, target = source.resolve(), output.resolve()
    if same or target == source:
        raise UserError(f'output: {output} is the source itself')
    if target in source.parents or source in target.parents:
        raise UserError(f'output: {output} contains the source or lies in it; choose another place')
    if output.exists() and not force:
        raise UserError(f'output: {output} exists; choose another name, or replace it with --force')
    check_replaceable(output)
    return output


def checked_parameters(options: argparse.Namespace) -> TrackerParameters:
    """
    Return the parameters of the node.

    :param options: `model`, `device`, `detector` and `parameter` of the command.
    :return: the defaults of the node with what was given.
    :raises UserError: for a parameter that is unknown, has no effect on a bag, or has no such
        value.
    """
    specs = tracker_specs()
    values: dict[str, Any] = {name: spec.default for name, spec in specs.items()}
    values |= {'model': str(options.model or ''), 'device': options.device,
               'detector': options.detector}
    for text in options.parameter or ():
        name, separator, value = text.partition(':=')
        if not separator or name not in values:
            raise UserError(f'parameter: {text!r} is not NAME:=VALUE with a parameter of the node')
        if name in _GIVEN_ELSEWHERE:
            raise UserError(f'parameter: {name} is given by {_GIVEN_ELSEWHERE[name]}')
        if name not in _PARAMETERS:
            raise UserError(f'parameter: {name} has no effect on a bag; use one of '
                            + ', '.join(_PARAMETERS))
        wanted, given = type(values[name]), yaml.safe_load(value)
        if wanted is float and type(given) is int:
            given = float(given)
        spec = specs[name]
        low, high = spec.bounds or (given, given)
        if refusal := spec.refusal(given):
            raise UserError(f'parameter: {name}: {refusal}')
        if (not spec.choices and type(given) is not wanted) or not low <= given <= high:
            raise UserError(f'parameter: {name} cannot be {value}: {spec.description}')
        values[name] = given
    return TrackerParameters(**values)


def check_namespace(namespace: str) -> None:
    """
    Refuse what ROS does not allow as a namespace.

    :param namespace: the option.
    :raises UserError: if it is not a namespace.
    """
    try:
        validate_namespace(f'/{namespace.strip("/")}')
    except InvalidNamespaceException:
        raise UserError(f'namespace: {namespace!r} is not a namespace of ROS') from None


def copied_topics(
    topics: Collection[str], wanted: str | None, inputs: Sequence[str], written: Collection[str],
) -> list[str]:
    """
    Return the topics that are copied to the output.

    :param topics: topics of the source.
    :param wanted: 'inputs', 'all' or None.
    :param inputs: topics that are read.
    :param written: topics that are written; except for /tf, those of the source are left out.
    :return: names of topics of the source.
    """
    if wanted is None:
        return []
    names = inputs if wanted == 'inputs' else topics
    return [name for name in names if name == '/tf' or name not in written]
