"""
Measure how fast `trans3dhead track BAG` is, compared with the pipeline alone.

Both process the same frames in the same process, taking turns. Loading the model is not measured,
writing the output is. The ratio is of processor time, which other load hardly changes.

    python benchmarks/bag_speed.py --frames 125 --repeats 3
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rclpy.serialization import serialize_message
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from trans3dhead_ros.bags.bag_writer import BagWriter
from trans3dhead_ros.cli.main import main as command
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image

KINDS = {
    'raw': ('/image_raw', 'sensor_msgs/msg/Image'),
    'jpeg': ('/image_raw/compressed', 'sensor_msgs/msg/CompressedImage'),
}


def write_bag(path: Path, frames: list, camera, kind: str, storage: str) -> None:
    topic, message_type = KINDS[kind]
    with BagWriter(path, storage) as bag:
        for frame in frames:
            stamp = round(1e9 * frame.stamp) + 10 ** 18
            header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id='camera')
            info = camera_info(camera)
            info.header = header
            bag.write('/camera_info', 'sensor_msgs/msg/CameraInfo', stamp, serialize_message(info))
            if kind == 'raw':
                message = bgr_image(header, frame.image)
            else:
                message = CompressedImage(header=header, format='jpeg', data=cv2.imencode(
                    '.jpg', frame.image)[1].tobytes())
            bag.write(topic, message_type, stamp, serialize_message(message))


def now() -> np.ndarray:
    """Return wall and processor time in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def pipeline_alone(frames: list, camera) -> np.ndarray:
    pipeline = HeadPipeline.load()
    began = now()
    for frame in frames:
        pipeline.track(frame.image, frame.stamp, camera)
    return now() - began


def track_bag(bag: Path, output: Path, *arguments: str) -> np.ndarray:
    began = now()
    HeadPipeline.load()
    loading = now() - began
    began = now()
    with contextlib.redirect_stdout(io.StringIO()):
        code = command(['track', str(bag), '--output', str(output), '--force', *arguments])
    assert code == 0
    return now() - began - loading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--frames', type=int, default=125)
    parser.add_argument('--repeats', type=int, default=3)
    options = parser.parse_args()
    source = open_source(str(bundled_clip()))
    frames = [frame for frame in source if frame.index < options.frames]
    recorded = len(frames) / source.fps
    with tempfile.TemporaryDirectory() as folder:
        bags = {}
        for kind in KINDS:
            for storage in ('mcap', 'sqlite3'):
                bags[f'{kind} images, {storage}'] = (Path(folder) / f'{kind}_{storage}', ())
                write_bag(bags[f'{kind} images, {storage}'][0], frames, source.camera, kind,
                          storage)
        bags['the same, copied, with markers and mesh'] = (
            Path(folder) / 'jpeg_mcap', ('--copy', '--markers', '--mesh'))
        taken = {name: [] for name in ('pipeline alone', *bags)}
        for _ in range(options.repeats):
            taken['pipeline alone'].append(pipeline_alone(frames, source.camera))
            for name, (path, arguments) in bags.items():
                taken[name].append(
                    track_bag(path, Path(folder) / 'out.mcap', *arguments))
    width, height = source.size
    print(f'{len(frames)} frames of {width} x {height}, two heads, {recorded:.1f} s of recording, '
          f'{torch.get_num_threads()} threads; median of {options.repeats}')
    for name, each in taken.items():
        wall, processor = np.median(each, axis=0)
        ratio = np.median(np.array(each)[:, 1] / np.array(taken['pipeline alone'])[:, 1])
        print(f'  {name:40s} {wall:6.2f} s: {recorded / wall:4.2f} s of recording per second; '
              f'{processor:6.2f} s of processor, {ratio:4.2f} times the pipeline alone')


if __name__ == '__main__':
    main()
