"""What the ROS layer costs per image: `python benchmarks/ros_messages.py` prints milliseconds."""

import time
from collections.abc import Callable

import numpy as np
from std_msgs.msg import Header

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.media.image_decoding import decode_image
from trans3dhead_ros.media.overlay import draw_heads
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_ros.ros import markers, messages
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

SIZE = (640, 480)


def milliseconds(function: Callable[[], object], repeats: int = 50) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(times))


def main() -> None:
    pipeline = HeadPipeline.load(threads=1)
    wall = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    image = HeadRenderer.from_model(load_head_model()).render(
        wall, Camera.from_fov(SIZE, 60.0), rotation_from_euler(np.zeros(3)), np.array([0, 0, 0.5]))
    heads = pipeline.track(image)
    triangles, header = pipeline.triangles, Header()
    message = messages.bgr_image(header, image)
    print(f'{len(heads)} head, {len(triangles)} triangles, image {SIZE[0]} x {SIZE[1]}, '
          'one thread; median ms')
    for name, function in {
        'decode bgr8': lambda: decode_image(message),
        'track': lambda: pipeline.track(image),
        'HeadArray': lambda: messages.head_array(
            header, heads, '', pipeline.expression_names),
        'LandmarkArray': lambda: messages.landmark_array(header, heads),
        'TFMessage': lambda: messages.transforms(header, heads, 'tracked_head_'),
        'PointCloud2': lambda: messages.mesh_cloud(header, heads),
        'MarkerArray, serialised': lambda: markers.serialized_with_meshes(
            markers.marker_array(header, heads), heads, triangles),
        'overlay': lambda: messages.bgr_image(header, draw_heads(image, heads, triangles)),
    }.items():
        print(f'{name:24} {milliseconds(function):8.3f}')


if __name__ == '__main__':
    main()
