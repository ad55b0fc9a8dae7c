"""The demo under `ros2 launch`: a source, the tracker, and a recorder that writes results."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

ARGUMENTS = [
    DeclareLaunchArgument('source', default_value='',
                          description='Picture, folder, GIF, video, stream URL or camera index; '
                          'empty: a render of the head model.'),
    DeclareLaunchArgument('pace', default_value='lockstep', choices=['lockstep', 'realtime'],
                          description='Next frame after the answer, or at the rate of the source.'),
    DeclareLaunchArgument('output', default_value='out/demo', description='Folder for results.'),
    DeclareLaunchArgument('device', default_value='auto',
                          description='Where the network runs: auto, cpu, cuda or cuda:N.'),
]


def generate_launch_description() -> LaunchDescription:
    output = ParameterValue(LaunchConfiguration('output'), value_type=str)
    return LaunchDescription([
        *ARGUMENTS,
        Node(package='trans3dhead', executable='recorder', name='recorder', output='screen',
             parameters=[{'output': output}],
             on_exit=Shutdown(reason='everything is recorded')),
        Node(package='trans3dhead', executable='head_tracker', name='head_tracker', output='screen',
             parameters=[{
                 'autostart': True,
                 'device': ParameterValue(LaunchConfiguration('device'), value_type=str)}],
             on_exit=Shutdown(reason='head_tracker has ended')),
        OpaqueFunction(function=image_publisher),
    ])


def image_publisher(context: LaunchContext) -> list[Node]:
    """Return the publisher of the source, which is rendered first where none is given."""
    source = context.launch_configurations['source']
    if not source:
        from trans3dhead_ros.ros.demo import rendered_clip
        source = rendered_clip(context.launch_configurations['output'])
    return [Node(
        package='trans3dhead', executable='image_publisher', name='image_publisher',
        output='screen', parameters=[{
            'source': ParameterValue(source, value_type=str),
            'pace': LaunchConfiguration('pace'),
            'wait_for': ['head_tracker', 'recorder']}])]
