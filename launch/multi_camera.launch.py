"""Several cameras in one head_tracker: one process, one model, one batch."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = Path(get_package_share_directory('trans3dhead'))
# The defaults that differ from those of head_tracking.launch.py.
ARGUMENTS = [
    DeclareLaunchArgument(
        'cameras', default_value='front,rear',
        description='Names of the cameras: topics are front/image_raw, front/heads and so on. '
        '`image`, `camera_info` and `source` may be lists, one entry per camera.'),
    DeclareLaunchArgument(
        'params_file', default_value=str(SHARE / 'config' / 'multi_camera.yaml'),
        description='Parameters of head_tracker; overrides for one camera are under its name.'),
    DeclareLaunchArgument(
        'rviz_config', default_value=str(SHARE / 'config' / 'multi_camera.rviz'),
        description='Configuration of RViz, for the cameras front and rear; others need their own '
        'file.'),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *ARGUMENTS,
        IncludeLaunchDescription(PythonLaunchDescriptionSource(
            str(SHARE / 'launch' / 'head_tracking.launch.py'))),
    ])
