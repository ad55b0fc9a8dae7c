"""The demo: an image publisher, the tracker, and a recorder that writes results."""

import functools
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# The recorder finishes a video and a bag; by default launch would kill it after five seconds.
SIGTERM_TIMEOUT = '30'  # s
ARGUMENTS = [
    DeclareLaunchArgument(
        'source', default_value='',
        description='Picture, folder, GIF, video, stream URL or camera index; empty: the bundled '
        'clip.'),
    DeclareLaunchArgument(
        'pace', default_value='lockstep', choices=['lockstep', 'realtime'],
        description='lockstep waits for the heads of each frame; realtime publishes at the rate of '
        'the source.'),
    DeclareLaunchArgument(
        'output', default_value='out/demo', description='Folder for the results.'),
    DeclareLaunchArgument(
        'model', default_value='',
        description='Model, .onnx or .safetensors, or open; empty: the bundled one.'),
    DeclareLaunchArgument(
        'detector', default_value='',
        description='Head detector, a YuNet .onnx file, or open; empty: the bundled one.'),
    DeclareLaunchArgument(
        'device', default_value='auto',
        description='Device of the networks: auto, cpu, cuda or cuda:N.'),
    DeclareLaunchArgument(
        'backend', default_value='auto',
        description='Engine of the networks: auto, onnxruntime, openvino, opencv or torch.'),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])


def nodes(context: LaunchContext) -> list[Node]:
    """Return the three nodes of the demo."""
    # Imported here, so that `--show-args` does not need OpenCV.
    from trans3dhead_ros.media.clip_truth import bundled_clip
    from trans3dhead_ros.media.sources import open_source

    given = context.launch_configurations
    source = given['source'] or str(bundled_clip())
    if Path(source).expanduser().exists():
        source = str(Path(source).expanduser())
    with open_source(source) as opened:
        fps = max(opened.fps, 1.0)
    return [
        node('recorder', 'the recording is complete', output=text(given['output']), fps=fps),
        node('head_tracker', 'head_tracker has ended', autostart=True,
             device=text(given['device']), backend=text(given['backend']),
             model=text(given['model']), detector=text(given['detector'])),
        # Its end does not end the launch: the recorder waits for the last heads.
        node('image_publisher', None, source=text(source), pace=given['pace'],
             wait_for=['head_tracker', 'recorder']),
    ]


def node(name: str, end: str | None, **parameters: object) -> Node:
    """
    Start one node of this package.

    :param name: of the executable and the node.
    :param end: reason to shut down when this node ends; None: the others go on.
    :param parameters: of the node.
    :return: the action that starts it.
    """
    return Node(package='trans3dhead', executable=name, name=name, output='screen',
                parameters=[parameters], sigterm_timeout=SIGTERM_TIMEOUT,
                on_exit=functools.partial(end_launch, name, end) if end else None)


def end_launch(
    name: str, reason: str, event: ProcessExited, context: LaunchContext,
) -> list[Shutdown] | None:
    """
    End the launch after a node.

    :param name: of the node.
    :param reason: for the log.
    :param event: its end.
    :param context: of the launch.
    :return: the action that ends the launch.
    :raises RuntimeError: which ends the launch with code 1, when the node has failed.
    """
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'{name} has failed (exit code {event.returncode}); its error is above')
    return [Shutdown(reason=reason)]


def text(value: str) -> ParameterValue:
    """Return a parameter that is a string even if it looks like a number."""
    return ParameterValue(value, value_type=str)
