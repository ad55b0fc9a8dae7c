"""The demo under `ros2 launch`: a source, the tracker, and a recorder that writes results."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# The recorder finishes a video and a bag; launch would kill it after five seconds.
PATIENCE = '30'  # s
ARGUMENTS = [
    DeclareLaunchArgument(
        'source', default_value='',
        description='Picture, folder, GIF, video, stream URL or camera index; empty: the clip that '
        'comes with the package.'),
    DeclareLaunchArgument(
        'pace', default_value='lockstep', choices=['lockstep', 'realtime'],
        description='Next frame after the answer, or at the rate of the source.'),
    DeclareLaunchArgument(
        'output', default_value='out/demo', description='Folder for the results.'),
    DeclareLaunchArgument(
        'model', default_value='', description='Checkpoint; empty: the bundled one.'),
    DeclareLaunchArgument(
        'device', default_value='auto',
        description='Where the network runs: auto, cpu, cuda or cuda:N.'),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])


def nodes(context: LaunchContext) -> list[Node]:
    """Return the three nodes of the demo."""
    # Not before it is asked for: `--show-args` answers without OpenCV.
    from trans3dhead_ros.media.clip_truth import bundled_clip
    from trans3dhead_ros.media.sources import open_source

    given = context.launch_configurations
    source = given['source'] or str(bundled_clip())
    if Path(source).expanduser().exists():
        source = str(Path(source).expanduser())
    with open_source(source) as opened:
        fps = max(opened.fps, 1.0)
    return [
        node('recorder', 'everything is recorded', output=text(given['output']), fps=fps),
        node('head_tracker', 'head_tracker has ended', autostart=True,
             device=text(given['device']), model=text(given['model'])),
        # Its end is not the end: the recorder waits for the last answers.
        node('image_publisher', None, source=text(source), pace=given['pace'],
             wait_for=['head_tracker', 'recorder']),
    ]


def node(name: str, end: str | None, **parameters: object) -> Node:
    """
    Return one node.

    :param end: why everything ends when this node does; None: the others go on.
    """
    return Node(package='trans3dhead', executable=name, name=name, output='screen',
                parameters=[parameters], sigterm_timeout=PATIENCE,
                on_exit=Shutdown(reason=end) if end else None)


def text(value: str) -> ParameterValue:
    """Return a parameter that stays a string, also where it looks like a number."""
    return ParameterValue(value, value_type=str)
