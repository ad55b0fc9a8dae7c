"""
`trans3dhead track BAG`: the heads of a recording, as a bag.

Every image is answered as the node answers it live, with the stamps and the times of the recording.
The run can be stopped at any moment, also by force: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import itertools
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rclpy.serialization import deserialize_message
from rosbags.typesys.store import Typestore
from tqdm import tqdm
from trans3dhead.msg import HeadArray

from trans3dhead_ros.bags.bag_reader import BagReader, bag_files, definitions
from trans3dhead_ros.bags.bag_topic import Message
from trans3dhead_ros.bags.bag_writer import STORAGES, Bag, typestore
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.records import record_line
from trans3dhead_ros.ros.bag_tracking import bag_options
from trans3dhead_ros.ros.bag_tracking.bag_journal import Answer, Journal
from trans3dhead_ros.ros.bag_tracking.bag_processor import BagAnswerer
from trans3dhead_ros.ros.bag_tracking.bag_publishers import BagPublishers
from trans3dhead_ros.ros.demo.recording import row

EXIT_LOSS = 1
# Of what a run leaves to be continued by another one.
_FORMAT = 2


@dataclass
class Progress:
    """How far a run is, in messages of the image and the calibration topic."""

    #: Messages that were looked at, in the order of the reader; stamps may go backwards in it.
    looked: int = 0
    images: int = 0
    bad_images: int = 0
    with_heads: int = 0


def track_bag(options: argparse.Namespace) -> int:
    """
    Answer the images of a bag; `trans3dhead track --help` describes the options.

    :return: exit code: 0 when every image is answered, 1 when the bag is damaged or an image is.
    :raises ValueError: for a user's mistake.
    """
    output = bag_options.checked_output(options)
    settings = bag_options.checked_settings(options)
    publishers = BagPublishers(options.namespace, [
        topic for name, topics in bag_options.LARGE_TOPICS.items() if not getattr(options, name)
        for topic in topics])
    with BagReader(options.source) as reader:
        images = bag_options.image_topic(reader, options.topic)
        info = bag_options.camera_info_topic(reader, images, options.camera_info)
        # Loads torch, which takes seconds: too long for a mistake above.
        from trans3dhead_ros.perception.pipeline import HeadPipeline
        pipeline = HeadPipeline.load(settings.model or None, settings.device,
                                     detector=settings.detector, config=settings.pipeline())
        answerer = BagAnswerer(pipeline, settings, images, reader.topics[images].type,
                               publishers, options.fov)
        copied = {name: definitions(reader.topics[name], typestore())
                  for name in bag_options.copied_topics(
                      reader, options.copy, [images, *([info] if info else [])],
                      publishers.topics)}
        plan = {
            'format': _FORMAT,
            'source': [[file.name, file.stat().st_size, file.stat().st_mtime_ns]
                       for file in bag_files(Path(options.source))],
            'topic': images, 'camera-info': info, 'fov': options.fov,
            'model': pipeline.aligner.metadata.get('sha256'),
            'device': str(pipeline.aligner.device),
            'parameters': {name: value for name, value in vars(settings).items()
                           if name not in ('model', 'device')},
        }
        folder = output.with_name(f'{output.name}.partial')
        with _full_disk_told(folder), \
                Journal(folder, plan, list(publishers.topics), options.force) as journal:
            run = _Run(reader, journal, answerer, images, info)
            run.answer_all(options.checkpoint)
            if options.json:
                heads = bag_options.full_name(options.namespace, 'heads')
                _write_json(options.json, journal, heads)
            bag = _written_bag(output, options.storage, reader, journal, publishers, copied)
            if output.exists():
                shutil.rmtree(output) if output.is_dir() else output.unlink()
            bag.replace(output)
            journal.remove()
        return run.report(output, sys.stderr if options.json == '-' else sys.stdout)


class _Run:
    """The answering of one bag, from the start or from where another run was stopped."""

    def __init__(
        self, reader: BagReader, journal: Journal, answerer: BagAnswerer, images: str,
        info: str | None,
    ) -> None:
        self._reader, self._journal, self._answerer = reader, journal, answerer
        self._images, self._info = images, info
        self._progress = Progress()
        self._speed = ''

    def answer_all(self, interval: int) -> None:
        """Answer what is not answered yet, with a checkpoint every so many images."""
        self._begin()
        progress, count = self._progress, self._reader.topics[self._images].count
        began, earliest, latest = time.perf_counter(), math.inf, -math.inf
        with _asked_to_stop() as stopping, tqdm(
                total=count, initial=progress.images, unit='image', leave=False,
                disable=None) as bar:
            for message in self._remaining():
                if message.topic == self._images:
                    earliest = min(earliest, message.stamp)
                    latest = max(latest, message.stamp)
                    self._answer(message)
                    bar.update()
                else:
                    self._answerer.camera_info(message.data)
                progress.looked += 1
                if stopping.is_set():
                    bar.close()
                    self._save()
                    print(f'stopped after {progress.images} of {count} images; the same command '
                          'goes on from there', file=sys.stderr)
                    raise KeyboardInterrupt
                if message.topic == self._images and progress.images % interval == 0:
                    self._save()
        self._save()
        if earliest <= latest:
            recorded, taken = 1e-9 * (latest - earliest), time.perf_counter() - began
            self._speed = f'{recorded:.1f} s of recording in {taken:.1f} s'

    def report(self, output: Path, stream: TextIO) -> int:
        """Print the summary and return the exit code."""
        progress, damage = self._progress, self._reader.damage
        print(f'{output}: {progress.images - progress.bad_images} images of {self._images} '
              f'answered, heads in {progress.with_heads} of them; {self._speed}', file=stream)
        if self._info is None:
            print('no camera_info beside the images; where it has another name, give '
                  '--camera-info, or --fov instead', file=stream)
        for note, count in self._answerer.notes.items():
            print(f'{note} ({count} times)' if count > 1 else note, file=sys.stderr)
        if damage:
            print(f'the bag is damaged, what could be read of it is answered: {damage}',
                  file=sys.stderr)
        return EXIT_LOSS if damage or progress.bad_images else 0

    def _begin(self) -> None:
        state = self._journal.state
        if state is not None:
            self._progress = Progress(**state['progress'])
            self._answerer.restore(state['answerer'])
            print(f'going on after {self._progress.images} images', file=sys.stderr)
        elif self._info is not None:
            # Recorders often write the first image before the calibration that belongs to it.
            first = next(self._reader.messages([self._info]), None)
            if first is not None:
                self._answerer.camera_info(first.data)

    def _remaining(self) -> Iterator[Message]:
        """Yield the messages behind those that were looked at already."""
        topics = [self._images, *([self._info] if self._info else [])]
        return itertools.islice(self._reader.messages(topics), self._progress.looked, None)

    def _answer(self, message: Message) -> None:
        progress = self._progress
        try:
            answers, heads = self._answerer.answer(message.data)
        except ValueError as error:
            self._answerer.warning(f'bad image skipped: {error}')
            progress.bad_images += 1
        else:
            for topic, data in answers:
                self._journal.append(Answer(topic, message.stamp, progress.images, data))
            progress.with_heads += heads > 0
        progress.images += 1

    def _save(self) -> None:
        self._journal.checkpoint(
            {'progress': vars(self._progress), 'answerer': self._answerer.state()})


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Yield what is set by SIGINT or SIGTERM: an image must not be left half answered."""
    stopping = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stopping.set())
                for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    """Turn what the system says while a run writes into one line for the user."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        raise UserError(f'output: {folder} cannot be written ({error.strerror}); the same command '
                         'goes on when that is mended') from None


def _written_bag(
    output: Path, storage: str, reader: BagReader, journal: Journal, publishers: BagPublishers,
    copied: Mapping[str, Typestore],
) -> Path:
    """
    Return the output as it shall be, made of the answers and the copies, in another place.

    :param copied: topics of the source, and what defines their types.
    """
    single = bool(output.suffix)
    if single:
        storage = next(name for name, ending in STORAGES.items() if ending == output.suffix)
    folder = journal.folder / (output.stem if single else output.name)
    with Bag(folder, storage) as bag:
        for topic in publishers.topics.values():
            if topic.name not in copied:
                bag.declare(topic.name, topic.type, qos=[topic.qos])
        for name, definition in copied.items():
            topic = reader.topics[name]
            bag.declare(name, topic.type, types=definition, qos=topic.qos)
        types = {name: topic.type for name, topic in publishers.topics.items()}
        answers = ((a.stamp, a.topic, types[a.topic], a.data) for a in journal.answers())
        copies = ((m.stamp, m.topic, reader.topics[m.topic].type, m.data)
                  for m in (reader.messages(copied) if copied else ()))
        merged = heapq.merge(copies, answers, key=lambda message: message[0])
        for stamp, topic, kind, data in tqdm(merged, desc='writing', unit='message', leave=False,
                                             disable=None):
            bag.write(topic, kind, stamp, data)
    return folder / f'{folder.name}{output.suffix}' if single else folder


def _write_json(path: str, journal: Journal, heads: str) -> None:
    """Write one row per answered image."""
    rows = (row(a.image, _header_seconds(message), message) for a in journal.answers()
            if a.topic == heads for message in [deserialize_message(a.data, HeadArray)])
    if path == '-':
        sys.stdout.writelines(map(record_line, rows))
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open('w') as file:
        file.writelines(map(record_line, rows))


def _header_seconds(message: HeadArray) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
