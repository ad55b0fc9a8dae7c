"""
Track the heads of a bag and write them to a new bag.

Every image gets the messages that the node would publish live, with the stamps of the recording.
The run can be stopped or killed at any time: the same command resumes after the last image.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rclpy.serialization import deserialize_message
from rosbags.typesys.store import Typestore
from tqdm import tqdm
from trans3dhead.msg import HeadArray

from trans3dhead_ros.bags.bag_files import bag_files
from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.bag_topic import Message
from trans3dhead_ros.bags.bag_writer import STORAGE_SUFFIXES, BagWriter
from trans3dhead_ros.bags.image_topics import (
    choose_camera_info_topic,
    choose_image_topic,
    resolve_topic,
)
from trans3dhead_ros.bags.message_types import types_of
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.records import record_line
from trans3dhead_ros.ros.bag_tracking import bag_options
from trans3dhead_ros.ros.bag_tracking.bag_processor import BagProcessor
from trans3dhead_ros.ros.bag_tracking.bag_publishers import BagPublishers
from trans3dhead_ros.ros.bag_tracking.partial_bag import PartialBag
from trans3dhead_ros.ros.demo.demo_results import head_array_record
from trans3dhead_ros.ros.stamps import stamp_seconds

EXIT_LOSS = 1
"""Exit code if the bag is damaged or an image could not be decoded."""


@dataclass
class Progress:
    """How far a run is."""

    read: int = 0
    """Messages of the image and the calibration topic, in the order of the reader: stamps may go
    backwards in it."""

    images: int = 0
    """Images, decodable or not."""

    bad_images: int = 0
    """Images that could not be decoded."""

    with_heads: int = 0
    """Images with at least one head."""

    last_id: int = 0
    """The highest id of a head."""

    notes: dict[str, int] = field(default_factory=dict)
    """What was assumed, ignored or refused, and how often."""


def track_bag(options: argparse.Namespace) -> int:
    """
    Track the heads of a bag; `trans3dhead track --help` describes the options.

    :param options: of the command line.
    :return: exit code: 0, or `EXIT_LOSS`.
    :raises UserError: for a wrong option.
    """
    output = bag_options.checked_output(Path(options.source), options.output, options.force)
    parameters = bag_options.checked_parameters(options)
    bag_options.check_namespace(options.namespace)
    publishers = BagPublishers(options.namespace, [
        topic for name, topics in bag_options.LARGE_TOPICS.items() if not getattr(options, name)
        for topic in topics])
    with BagReader(options.source) as reader:
        images = choose_image_topic(reader.topics, options.topic)
        info = choose_camera_info_topic(reader.topics, images, options.camera_info)
        # Loading an engine takes seconds: too long for a mistake above.
        from trans3dhead_ros.perception.pipeline import HeadPipeline
        pipeline = HeadPipeline.load(
            parameters.model or None, parameters.device, detector=parameters.detector,
            config=parameters.pipeline_config())
        processor = BagProcessor(pipeline, parameters, images, reader.topics[images].type,
                                 publishers, options.fov)
        copied = {name: types_of(reader.topics[name]) for name in bag_options.copied_topics(
            reader.topics, options.copy, [images, *([info] if info else [])], publishers.topics)}
        relevant = {
            'source': [[file.name, file.stat().st_size, file.stat().st_mtime_ns]
                       for file in bag_files(Path(options.source))],
            'topic': images, 'camera-info': info, 'fov': options.fov,
            'model': pipeline.aligner.metadata.get('sha256'),
            'device': str(pipeline.aligner.device),
            'parameters': {name: value for name, value in vars(parameters).items()
                           if name not in ('model', 'device')},
        }
        folder = output.with_name(f'{output.name}.partial')
        with _report_full_disk(folder), PartialBag(
                folder / 'tracked.mcap', relevant,
                {topic.name: topic.type for topic in publishers.topics.values()},
                options.force) as partial:
            run = _Run(reader, partial, processor, images, info)
            run.process_all()
            if options.json:
                _write_json(options.json, partial, resolve_topic(options.namespace, 'heads'))
            bag = _written_bag(folder, output, options.storage, reader, partial, publishers, copied)
            if output.exists():
                shutil.rmtree(output) if output.is_dir() else output.unlink()
            bag.replace(output)
            shutil.rmtree(folder)
        return run.report(output, sys.stderr if options.json == '-' else sys.stdout)


class _Run:
    """The processing of one bag, from the start or from where an earlier run was stopped."""

    def __init__(
        self, reader: BagReader, partial: PartialBag, processor: BagProcessor, images: str,
        info: str | None,
    ) -> None:
        self._reader, self._partial, self._processor = reader, partial, processor
        self._images, self._info = images, info
        self._progress = Progress(**partial.progress or {})
        self._speed = ''

    def process_all(self) -> None:
        """Process the images that have not been processed yet."""
        progress, processor = self._progress, self._processor
        count, done = self._reader.topics[self._images].count, progress.read
        if self._partial.progress is not None:
            processor.resume(progress.last_id, progress.notes)
            print(f'resuming after {progress.images} images', file=sys.stderr)
        # Recorders often write the first image before the calibration that belongs to it.
        first = next(self._reader.messages([self._info]), None) if self._info else None
        if first is not None:
            processor.set_camera_info(first.data)
        began, earliest, latest = time.perf_counter(), math.inf, -math.inf
        with _defer_signals() as stopping, tqdm(
                total=count, initial=progress.images, unit='image', leave=False,
                disable=None) as bar:
            topics = [self._images, *([self._info] if self._info else [])]
            for read, message in enumerate(self._reader.messages(topics), start=1):
                if message.topic == self._info:
                    processor.set_camera_info(message.data)
                    continue
                if read <= done:
                    continue
                progress.read = read
                earliest = min(earliest, message.stamp)
                latest = max(latest, message.stamp)
                self._process(message)
                bar.update()
                if stopping.is_set():
                    bar.close()
                    print(f'stopped after {progress.images} of {count} images; repeat the command '
                          'to resume there', file=sys.stderr)
                    raise KeyboardInterrupt
        if earliest <= latest:
            recorded, taken = 1e-9 * (latest - earliest), time.perf_counter() - began
            self._speed = f'; {recorded:.1f} s of recording in {taken:.1f} s'

    def report(self, output: Path, stream: TextIO) -> int:
        """Print the summary and return the exit code."""
        progress, damage = self._progress, self._reader.damage
        print(f'{output}: {progress.images - progress.bad_images} images of {self._images} '
              f'processed, heads in {progress.with_heads} of them{self._speed}', file=stream)
        if self._info is None:
            print('no camera_info in the namespace of the images; name another topic with '
                  '--camera-info, or give --fov', file=stream)
        for note, count in self._processor.notes.items():
            print(f'{note} ({count} times)' if count > 1 else note, file=sys.stderr)
        if damage:
            print(f'the bag is damaged, the readable part was processed: {damage}',
                  file=sys.stderr)
        return EXIT_LOSS if damage or progress.bad_images else 0

    def _process(self, message: Message) -> None:
        progress, processor = self._progress, self._processor
        try:
            found, heads = processor.process(message.data)
        except UserError as error:
            processor.warning(f'bad image skipped: {error}')
            progress.bad_images += 1
        else:
            for topic, data in found:
                self._partial.append(topic, message.stamp, data)
            progress.with_heads += heads > 0
        progress.images += 1
        progress.last_id, progress.notes = processor.last_id, dict(processor.notes)
        self._partial.commit(asdict(progress))


@contextmanager
def _defer_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that they do not interrupt an image."""
    stopping = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stopping.set())
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _report_full_disk(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into one line for the user."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        raise UserError(f'output: {folder} cannot be written ({error.strerror}); correct that and '
                        'repeat the command to resume') from None


def _written_bag(
    folder: Path, output: Path, storage: str, reader: BagReader, partial: PartialBag,
    publishers: BagPublishers, copied: Mapping[str, Typestore],
) -> Path:
    """
    Write the new bag in a temporary folder.

    :param folder: the temporary folder.
    :param output: where the bag will be moved; a single file if it has a suffix.
    :param storage: storage plugin of a folder.
    :param reader: the source.
    :param partial: the messages of the tracker.
    :param publishers: their topics.
    :param copied: topics of the source that are copied, and what defines their types.
    :return: the file or the folder to move.
    """
    if output.suffix:
        storage = next(name for name, suffix in STORAGE_SUFFIXES.items() if suffix == output.suffix)
    folder /= output.stem
    with BagWriter(folder, storage) as bag:
        for topic in publishers.topics.values():
            if topic.name not in copied:
                bag.add_topic(topic.name, topic.type, qos=[topic.qos])
        for name, types in copied.items():
            topic = reader.topics[name]
            bag.add_topic(name, topic.type, types=types, qos=topic.qos)
        kinds = {name: topic.type for name, topic in publishers.topics.items()}
        tracked = ((m.stamp, m.topic, kinds[m.topic], m.data) for m in partial.messages())
        copies = ((m.stamp, m.topic, reader.topics[m.topic].type, m.data)
                  for m in (reader.messages(copied) if copied else ()))
        merged = heapq.merge(copies, tracked, key=lambda message: message[0])
        for stamp, topic, kind, data in tqdm(merged, desc='writing', unit='message', leave=False,
                                             disable=None):
            bag.write(topic, kind, stamp, data)
    return folder / f'{folder.name}{output.suffix}' if output.suffix else folder


def _write_json(path: str, partial: PartialBag, heads: str) -> None:
    """Write one row per decodable image; '-' is the standard output."""
    def rows() -> Iterator[dict[str, Any]]:
        for message in partial.messages():
            if message.topic == heads:
                array = deserialize_message(message.data, HeadArray)
                stamp = stamp_seconds(array.header.stamp)
                yield head_array_record(message.image, stamp, array)

    if path == '-':
        sys.stdout.writelines(map(record_line, rows()))
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open('w') as file:
        file.writelines(map(record_line, rows()))
