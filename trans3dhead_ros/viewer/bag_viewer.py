"""Show a bag in Rerun; neither ROS 2 nor its messages need be installed."""

from __future__ import annotations

import argparse
import sys
import time

from tqdm import tqdm

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.image_topics import (
    IMAGE_TYPES,
    camera_info_topic_beside,
    choose_image_topic,
    resolve_topic,
)
from trans3dhead_ros.bags.message_types import types_of
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.viewer.viewer_recording import check_destination, open_recording
from trans3dhead_ros.viewer.viewer_scene import Scene


def view_bag(options: argparse.Namespace) -> int:
    """
    Show the heads of a bag; `trans3dhead view --help` describes the options.

    :param options: of the command line.
    :return: exit code: 0, or 1 if the bag is damaged.
    :raises UserError: for a wrong option.
    """
    check_destination(options)
    with BagReader(options.source) as reader:
        topics = _shown_topics(reader, options)
        with open_recording(options, live=False, diagnostics='/diagnostics' in topics) as recording:
            # A recorded mesh needs both topics; the coefficients of a head define it as well.
            recorded = {resolve_topic(options.namespace, name)
                        for name in ('head_mesh', 'head_mesh/triangles')} <= {*topics}
            scene = Scene(recording, options.namespace, rebuild=not recorded)
            types = {topic: types_of(reader.topics[topic]) for topic in topics}
            total = sum(reader.topics[topic].count for topic in topics)
            for message in tqdm(reader.messages(topics), total=total, unit='message', leave=False,
                                disable=None):
                topic = message.topic
                show = getattr(scene, topics[topic])
                show(types[topic].deserialize_cdr(message.data, reader.topics[topic].type))
            if options.web:
                print('the viewer is served until Ctrl-C', file=sys.stderr)
                _wait(options.duration)
        if reader.damage:
            print(f'the bag is damaged, the readable part is shown: {reader.damage}',
                  file=sys.stderr)
            return 1
    return 0


def _shown_topics(reader: BagReader, options: argparse.Namespace) -> dict[str, str]:
    """Return the topics that are shown, and the method of `Scene` for each."""
    heads = resolve_topic(options.namespace, 'heads')
    if heads not in reader.topics:
        found = [name for name, topic in reader.topics.items()
                 if topic.type == 'trans3dhead/msg/HeadArray']
        raise UserError(
            f'{options.source}: has no {heads}; ' + (
                f'name the namespace of one of {", ".join(found)} with --namespace' if found else
                f'make it with: trans3dhead track {options.source} --output out.mcap --copy'))
    shown = {heads: 'heads', resolve_topic(options.namespace, 'head_mesh'): 'mesh',
             resolve_topic(options.namespace, 'head_mesh/triangles'): 'triangles',
             '/diagnostics': 'diagnostics'}
    if options.image is not None or any(
            topic.type in IMAGE_TYPES for topic in reader.topics.values()):
        images = choose_image_topic(reader.topics, options.image)
        shown |= {images: 'image', camera_info_topic_beside(images): 'camera_info'}
    return {topic: method for topic, method in shown.items() if topic in reader.topics}


def _wait(seconds: float | None) -> None:
    try:
        time.sleep(1e9 if seconds is None else seconds)
    except KeyboardInterrupt:
        return
