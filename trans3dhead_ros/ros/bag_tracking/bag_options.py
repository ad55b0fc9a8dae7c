"""What the options of `track BAG` mean: output, topics, parameters; every mistake in one line."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from rclpy.exceptions import InvalidNamespaceException
from rclpy.parameter import Parameter
from rclpy.validate_namespace import validate_namespace

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.bag_writer import STORAGES, check_replaceable
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.ros.parameters import SPECS, Settings, check_parameters

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
#: What is written only where it is asked for: it is large.
LARGE_TOPICS = {'markers': ('head_markers',), 'mesh': ('head_mesh', 'head_mesh/triangles'),
                'overlay': ('overlay',)}
#: What is behind the name of images that are sent compressed.
COMPRESSED = '/compressed'
_DEPTH = '/compressedDepth'
_ELSEWHERE = {'model': '--model', 'device': '--device', 'detector': '--detector',
              'cameras': '--topic and --namespace'}
# The others are about images that come in live.
_PARAMETERS = (
    'image_rectified', 'max_image_pixels', 'new_track_threshold', 'keep_track_threshold', 'max_missed_frames',
    'search_interval', 'head_scale', 'head_size_uncertainty', 'smoothing', 'smoothing_min_cutoff',
    'smoothing_beta', 'smoothing_derivative_cutoff', 'head_frame_prefix', 'publish_tf')


def checked_output(options: argparse.Namespace) -> Path:
    """Return where the bag goes; `ValueError` where it cannot."""
    output: Path | None = options.output
    endings = ' or '.join(STORAGES.values())
    if output is None:
        raise UserError(f'output: name the bag to write ({endings}, or a folder)')
    if output.suffix and output.suffix not in STORAGES.values():
        raise UserError(f'output: {output} has none of the endings of a bag ({endings}); '
                         'the name of a folder has no ending')
    source, target = Path(options.source).resolve(), output.resolve()
    if target == source:
        raise UserError(f'output: {output} is the source itself')
    if target in source.parents or source in target.parents:
        raise UserError(f'output: {output} holds the source or lies in it; name one elsewhere')
    if output.exists() and not options.force:
        raise UserError(f'output: {output} exists; name another one, or replace it with --force')
    check_replaceable(output)
    return output


def checked_settings(options: argparse.Namespace) -> Settings:
    """Return the parameters of the node, with those that were given; `ValueError` for a mistake."""
    values: dict[str, Any] = {spec.name: spec.default for spec in SPECS}
    values |= {'model': str(options.model or ''), 'device': options.device,
               'detector': options.detector}
    for text in options.parameter or ():
        name, separator, value = text.partition(':=')
        if not separator or name not in values:
            raise UserError(f'parameter: {text!r} is not NAME:=VALUE with a parameter of the node')
        if name in _ELSEWHERE:
            raise UserError(f'parameter: {name} is given by {_ELSEWHERE[name]}')
        if name not in _PARAMETERS:
            raise UserError(f'parameter: {name} has no meaning for a bag; use one of '
                             + ', '.join(_PARAMETERS))
        wanted, given = type(values[name]), yaml.safe_load(value)
        if wanted is float and type(given) is int:
            given = float(given)
        parameter = Parameter(name, value=given)
        spec = next(spec for spec in SPECS if spec.name == name)
        allowed = check_parameters([parameter])
        low, high = spec.bounds or (given, given)
        if not allowed.successful:
            raise UserError(f'parameter: {allowed.reason}')
        if (not spec.choices and type(given) is not wanted) or not low <= given <= high:
            raise UserError(f'parameter: {name} cannot be {value}: {spec.description}')
        values[name] = given
    return Settings(**values)


def full_name(namespace: str, name: str) -> str:
    """Return the topic's name in a namespace; `ValueError` for what is no namespace."""
    whole = f'/{namespace.strip("/")}'
    try:
        validate_namespace(whole)
    except InvalidNamespaceException:
        raise UserError(f'namespace: {namespace!r} is not one of ROS') from None
    return name if name.startswith('/') else f'{whole.rstrip("/")}/{name}'


def image_topic(reader: BagReader, wanted: str | None) -> str:
    """Return the topic of the images; `ValueError`, with all there are, where that is not clear."""
    found = [name for name, topic in reader.topics.items() if topic.type in IMAGE_TYPES]
    if wanted is not None:
        if wanted in found:
            return wanted
        raise UserError(f'topic: {wanted} has no images in this bag; {_listed(reader, found)}')
    colour = [name for name in found if not name.endswith(_DEPTH) and reader.topics[name].count]
    if len(colour) == 1:
        return colour[0]
    raise UserError(f'topic: {_listed(reader, colour)}')


def camera_info_topic(reader: BagReader, images: str, wanted: str | None) -> str | None:
    """Return the topic of the calibration: the one that is wanted, or the one beside the images."""
    if wanted is not None:
        if wanted in reader.topics and reader.topics[wanted].type == CAMERA_INFO_TYPE:
            return wanted
        found = [name for name, topic in reader.topics.items() if topic.type == CAMERA_INFO_TYPE]
        raise UserError(f'camera-info: {wanted} is no camera_info of this bag'
                         + (f'; use {" or ".join(found)}' if found else ', which has none'))
    found = reader.topics.get(beside(images))
    return beside(images) if found is not None and found.type == CAMERA_INFO_TYPE else None


def beside(images: str) -> str:
    """Return the topic of the calibration that stands beside a topic of images."""
    return images.removesuffix(COMPRESSED).rpartition('/')[0] + '/camera_info'


def copied_topics(
    reader: BagReader, wanted: str | None, inputs: Sequence[str], answers: Collection[str],
) -> list[str]:
    """
    Return the topics that are copied to the output.

    :param wanted: 'inputs', 'all' or None.
    :param inputs: what is read.
    :param answers: what is written; an older answer of the same name is left out, but not /tf.
    """
    if wanted is None:
        return []
    names = inputs if wanted == 'inputs' else reader.topics
    return [name for name in names if name == '/tf' or name not in answers]


def _listed(reader: BagReader, names: Sequence[str]) -> str:
    if not names:
        return 'the bag has no images'
    each = ', '.join(f'{name} ({reader.topics[name].count} images)' for name in names)
    return f'name one of {each}' if len(names) > 1 else f'there is {each}'
