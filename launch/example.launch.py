"""The tracker and one of the example nodes, with the arguments of head_tracking.launch.py."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory('trans3dhead'))
ARGUMENTS = [
    DeclareLaunchArgument(
        'example', default_value='nod_and_shake',
        choices=['look_at_me', 'nod_and_shake', 'smile_detector'],
        description='Which of the example nodes to start.'),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *ARGUMENTS,
        IncludeLaunchDescription(PythonLaunchDescriptionSource(
            str(SHARE / 'launch' / 'head_tracking.launch.py'))),
        Node(package='trans3dhead', executable=[LaunchConfiguration('example'), '.py'],
             namespace=LaunchConfiguration('namespace'), output='screen'),
    ])
