"""Which topics of a bag hold the images of a camera, its calibration and its heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trans3dhead_ros.errors import UserError

if TYPE_CHECKING:
    # Brings the reader of bags, which a node does without.
    from trans3dhead_ros.bags.bag_topic import Topic

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
COMPRESSED_SUFFIX = '/compressed'
"""What image_transport appends to the name of a topic with compressed images."""

_DEPTH_SUFFIX = '/compressedDepth'


def resolve_topic(namespace: str, name: str) -> str:
    """Return the full name of a topic; only a name that begins with '/' ignores the namespace."""
    parts = [part for part in (namespace.strip('/'), name) if part]
    return name if name.startswith('/') else '/' + '/'.join(parts)


def camera_info_topic_beside(images: str) -> str:
    """Return the conventional name of the calibration's topic: camera_info beside the images."""
    return images.removesuffix(COMPRESSED_SUFFIX).rpartition('/')[0] + '/camera_info'


def is_rectified(images: str) -> bool:
    """Return whether images are rectified, as the name of their topic tells."""
    return 'rect' in images


def choose_image_topic(topics: Mapping[str, Topic], wanted: str | None) -> str:
    """
    Return the topic with the images.

    :param topics: topics of the bag by name.
    :param wanted: name of the topic; None for the only one with colour images.
    :return: its name.
    :raises UserError: if there is none or there are several; the message lists them.
    """
    found = [name for name, topic in topics.items() if topic.type in IMAGE_TYPES]
    if wanted is not None:
        if wanted in found:
            return wanted
        raise UserError(f'topic: {wanted} has no images in this bag; {_listed(topics, found)}')
    colour = [name for name in found
              if not name.endswith(_DEPTH_SUFFIX) and topics[name].count]
    if len(colour) == 1:
        return colour[0]
    raise UserError(f'topic: {_listed(topics, colour)}')


def choose_camera_info_topic(
    topics: Mapping[str, Topic], images: str, wanted: str | None,
) -> str | None:
    """
    Return the topic with the calibration.

    :param topics: topics of the bag by name.
    :param images: topic of the images.
    :param wanted: name of the topic; None for camera_info beside the images.
    :return: its name; None if `wanted` is None and there is none in the namespace of the images.
    :raises UserError: if `wanted` is not a topic with calibrations.
    """
    found = [name for name, topic in topics.items() if topic.type == CAMERA_INFO_TYPE]
    if wanted is None:
        beside = camera_info_topic_beside(images)
        return beside if beside in found else None
    if wanted not in found:
        raise UserError(f'camera-info: {wanted} is not a camera_info topic of this bag; '
                        + (f'use {" or ".join(found)}' if found else 'it has none'))
    return wanted


def _listed(topics: Mapping[str, Topic], names: Sequence[str]) -> str:
    if not names:
        return 'the bag has no images'
    each = ', '.join(f'{name} ({topics[name].count} images)' for name in names)
    return f'name one of {each}' if len(names) > 1 else f'there is {each}'
