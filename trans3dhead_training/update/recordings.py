"""The frames of a recording, whatever it is: a bag, a video, or a folder of frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from rosbags.typesys.store import Typestore

from trans3dhead_ros.bags.bag_files import is_bag
from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.camera_info_reading import read_camera_info
from trans3dhead_ros.bags.image_topics import (
    choose_camera_info_topic,
    choose_image_topic,
    is_rectified,
)
from trans3dhead_ros.bags.message_types import types_of
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.frame_source import Frame
from trans3dhead_ros.media.image_decoding import decode_compressed, decode_image
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.types import Image

_NOMINAL_FPS = 30.0
_IMAGES_THAT_TELL_THE_RATE = 60


class Recording:
    """
    A recording that is open for reading; use it as a context manager.

    :param source: bag, video or folder of frames.
    :param topic: of the images of a bag that has several; None: the only one.
    :ivar count: number of frames, as the container says.
    :ivar fps: frames a second, on average.
    :ivar losses: what could not be read, one line each.
    :raises UserError: it cannot be read, or has no images.

    Example::

        with Recording('drive.mcap') as recording:
            for frame in recording.frames(first=0, step=3):
                heads = pipeline.track(frame.image, frame.stamp)
    """

    def __init__(self, source: str, topic: str | None = None) -> None:
        self.name, self.losses = source, []
        self._stack, self._bag = ExitStack(), None
        if is_bag(source):
            if not Path(source).exists():
                raise UserError(f'source: {source} does not exist')
            self._bag = self._stack.enter_context(BagReader(source))
            self._topic = choose_image_topic(self._bag.topics, topic)
            self.count = self._bag.topics[self._topic].count
            self.fps = self._bag_fps()
            if not self.count:
                raise UserError(f'{source}: the bag has no images')
        else:
            self._source = self._stack.enter_context(open_source(source))
            if self._source.live or self._source.count is None:
                self._stack.close()
                raise UserError(f'source: {source} is live; record it first')
            self.count, self.fps = self._source.count, self._source.fps

    def frames(self, first: int = 0, step: int = 1) -> Iterator[Frame]:
        """
        Yield every `step`th frame.

        :param first: number of the first frame.
        :param step: distance between two frames.
        :yield: the frames that can be read, with stamps in seconds.
        """
        if self._bag is not None:
            yield from self._bag_frames(first, step)
            return
        for frame in self._source:
            if frame.index >= first and (frame.index - first) % step == 0:
                yield frame
        self.losses = list(self._source.losses)

    def camera(self, fov_deg: float = 0.0) -> Camera | None:
        """
        Return the camera, as it was for the first frame.

        :param fov_deg: its horizontal field of view; 0: what the recording says.
        :return: the camera; None where it is not known.
        """
        size = self._bag_size() if self._bag is not None else self._source.size
        if size is None:
            return None
        if fov_deg:
            return Camera.from_fov(size, fov_deg)
        if self._bag is None:
            return self._source.camera
        name = choose_camera_info_topic(self._bag.topics, self._topic, None)
        message = next(iter(self._bag.messages([name])), None) if name else None
        if message is None:
            return None
        topic = self._bag.topics[name]
        try:
            return read_camera_info(
                types_of(topic).deserialize_cdr(message.data, topic.type), size,
                is_rectified(self._topic)).camera
        # The reader of messages has no common class for what a damaged one makes it raise.
        except Exception as error:
            self.losses.append(f'{self.name}: {name} cannot be used ({error})')
            return None

    def _bag_size(self) -> tuple[int, int] | None:
        frame = next(self._bag_frames(0, 1), None)
        return None if frame is None else (frame.image.shape[1], frame.image.shape[0])

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bag_fps(self) -> float:
        # The first images tell it: to read all of a long bag takes minutes.
        first = islice(self._bag.messages([self._topic]), _IMAGES_THAT_TELL_THE_RATE)
        stamps = [message.stamp for message in first]
        seconds = 1e-9 * (max(stamps) - min(stamps)) if stamps else 0.0
        return (len(stamps) - 1) / seconds if seconds > 0 else _NOMINAL_FPS

    def _bag_frames(self, first: int, step: int) -> Iterator[Frame]:
        topic = self._bag.topics[self._topic]
        types, depth = types_of(topic), BitDepth()
        for index, message in enumerate(self._bag.messages([self._topic])):
            if index < first or (index - first) % step:
                continue
            try:
                yield Frame(index, 1e-9 * message.stamp,
                            _decoded(types, topic.type, message.data, depth))
            except UserError as error:
                self.losses.append(f'{self.name}: image {index} cannot be read ({error})')
        if self._bag.damage:
            self.losses.append(self._bag.damage)


def _decoded(types: Typestore, kind: str, data: bytes, depth: BitDepth) -> Image:
    # The reader of messages has no common class for what a damaged one makes it raise.
    try:
        message = types.deserialize_cdr(data, kind)
    except Exception as error:
        raise UserError(f'damaged message: {error}') from None
    decode = decode_compressed if kind.endswith('CompressedImage') else decode_image
    return decode(message, depth=depth)
