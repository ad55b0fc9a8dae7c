"""Head tracking on a camera that runs already, or that is started here."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(get_package_share_directory('trans3dhead'))
BOOLEAN = ['true', 'false']
# camera -> package and executable of its driver
DRIVERS = {
    'usb_cam': ('usb_cam', 'usb_cam_node_exe'),
    'v4l2_camera': ('v4l2_camera', 'v4l2_camera_node'),
    'file': ('trans3dhead', 'image_publisher'),
}
ARGUMENTS = [
    DeclareLaunchArgument('params_file', default_value=str(SHARE / 'config' / 'head_tracker.yaml'),
                          description='Parameters of head_tracker.'),
    DeclareLaunchArgument('namespace', default_value='', description='Namespace of all nodes.'),
    DeclareLaunchArgument('image', default_value='image_raw',
                          description='Image topic, without /compressed.'),
    DeclareLaunchArgument('camera_info', default_value='camera_info',
                          description='Calibration topic of the same camera.'),
    DeclareLaunchArgument('image_transport', default_value='raw', choices=['raw', 'compressed'],
                          description='How the images travel.'),
    DeclareLaunchArgument('device', default_value='auto',
                          description='Where the network runs: auto, cpu, cuda or cuda:N.'),
    DeclareLaunchArgument('camera', default_value='none', choices=['none', *DRIVERS],
                          description='Camera driver to start as well; file plays `source`.'),
    DeclareLaunchArgument('source', default_value='',
                          description='With camera:=file: a picture, folder, GIF, video or URL.'),
    DeclareLaunchArgument('rviz', default_value='false', choices=BOOLEAN,
                          description='Show image, mesh, landmarks and TF in RViz.'),
    DeclareLaunchArgument('use_sim_time', default_value='false', choices=BOOLEAN,
                          description='Take the time from /clock, as when a bag is played.'),
    DeclareLaunchArgument('autostart', default_value='true', choices=BOOLEAN,
                          description='Configure and activate at start; else by `ros2 lifecycle`.'),
    DeclareLaunchArgument('large_data', default_value='false', choices=BOOLEAN,
                          description='FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for all processes '
                          'here: no loss of large best-effort images; other processes need it, '
                          'too.'),
]


def generate_launch_description() -> LaunchDescription:
    use_sim_time = {
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)}
    tracker = Node(
        package='trans3dhead', executable='head_tracker', name='head_tracker',
        namespace=LaunchConfiguration('namespace'), output='screen',
        parameters=[LaunchConfiguration('params_file'), use_sim_time, {
            'device': ParameterValue(LaunchConfiguration('device'), value_type=str),
            'image_transport': LaunchConfiguration('image_transport'),
            'autostart': ParameterValue(LaunchConfiguration('autostart'), value_type=bool),
        }],
        remappings=[('image_raw', LaunchConfiguration('image')),
                    ('camera_info', LaunchConfiguration('camera_info'))],
        on_exit=Shutdown(reason='head_tracker has ended'))
    rviz = Node(
        package='rviz2', executable='rviz2', name='rviz2', output='screen',
        namespace=LaunchConfiguration('namespace'), parameters=[use_sim_time],
        arguments=['-d', str(SHARE / 'config' / 'head_tracking.rviz')],
        remappings=[('image_raw', LaunchConfiguration('image'))],
        condition=IfCondition(LaunchConfiguration('rviz')))
    return LaunchDescription([
        *ARGUMENTS,
        SetEnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA',
                               condition=IfCondition(LaunchConfiguration('large_data'))),
        OpaqueFunction(function=camera_driver),
        tracker,
        rviz,
    ])


def camera_driver(context: LaunchContext) -> list[Node]:
    """Return the driver that `camera` names."""
    configuration = context.launch_configurations
    camera = configuration['camera']
    if camera == 'none':
        return []
    package, executable = DRIVERS[camera]
    parameters = []
    if camera == 'file':
        if not configuration['source']:
            raise RuntimeError('camera:=file plays a file: give source:=FILE as well')
        parameters = [{
            'source': configuration['source'], 'pace': 'realtime', 'wait_for': ['head_tracker']}]
    return [Node(
        package=package, executable=executable, namespace=configuration['namespace'],
        output='screen', parameters=parameters,
        remappings=[('image_raw', configuration['image']),
                    ('camera_info', configuration['camera_info'])])]
