"""Head tracking on cameras that run already, or that are started here."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(get_package_share_directory('trans3dhead')) / 'config'
BOOLEAN = ['true', 'false']
RESPAWN_DELAY = 2.0  # s
# After Ctrl-C a frame at hand is finished; a busy machine takes more than launch's 5 s for the end.
PATIENCE = '20'  # s


@dataclass(frozen=True)
class Driver:
    """What publishes the images of a camera, and how it wants to be told what."""

    package: str
    executable: str
    #: Parameter that names the device or the file.
    source: str
    #: Parameter that names the frame of the images.
    frame_id: str


DRIVERS = {
    'usb_cam': Driver('usb_cam', 'usb_cam_node_exe', 'video_device', 'frame_id'),
    'v4l2_camera': Driver('v4l2_camera', 'v4l2_camera_node', 'video_device', 'camera_frame_id'),
    'file': Driver('trans3dhead', 'image_publisher', 'source', 'frame_id'),
}
ARGUMENTS = [
    DeclareLaunchArgument(
        'params_file', default_value=str(CONFIG / 'head_tracker.yaml'),
        description='Parameters of head_tracker.'),
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of all nodes.'),
    DeclareLaunchArgument(
        'cameras', default_value='',
        description='Names of cameras that share one node and one model, as front,rear; empty: one '
        'camera whose topics have no prefix. `image`, `camera_info` and `source` may then be lists '
        'as well, one entry a camera.'),
    DeclareLaunchArgument(
        'image', default_value='image_raw',
        description="Image topic, without /compressed; a relative name lies under the camera's."),
    DeclareLaunchArgument(
        'camera_info', default_value='camera_info',
        description="Calibration topic of the same camera; a relative name lies under the "
        "camera's."),
    DeclareLaunchArgument(
        'image_transport', default_value='', choices=['', 'raw', 'compressed'],
        description='How the images travel; empty: as params_file has it, else raw.'),
    DeclareLaunchArgument(
        'device', default_value='',
        description='Where the network runs: auto, cpu, cuda or cuda:N; empty: as params_file has '
        'it, else auto.'),
    DeclareLaunchArgument(
        'model', default_value='',
        description='Checkpoint; empty: as params_file has it, else the one of the package.'),
    DeclareLaunchArgument(
        'model_folder', default_value='',
        description='Folder from which the service load_model may load; empty: as params_file has '
        'it, else that of the model.'),
    DeclareLaunchArgument(
        'rep155', default_value='', choices=['', *BOOLEAN],
        description='Publish faces for ROS4HRI as well, which needs hri_msgs; empty: as '
        'params_file has it, else false.'),
    DeclareLaunchArgument(
        'camera', default_value='none', choices=['none', *DRIVERS],
        description='Camera driver to start as well; file plays `source`.'),
    DeclareLaunchArgument(
        'source', default_value='',
        description='What the driver reads: with camera:=file a picture, folder, GIF, video, URL '
        'or camera index; else a device such as /dev/video2, empty: as camera_params_file has '
        'it.'),
    DeclareLaunchArgument(
        'repeat', default_value='false', choices=BOOLEAN,
        description='With camera:=file: play `source` again and again.'),
    DeclareLaunchArgument(
        'camera_params_file', default_value='',
        description='Parameters of the driver; empty: config/camera_usb_cam.yaml of this package, '
        'or that of the driver chosen.'),
    DeclareLaunchArgument(
        'frame_id', default_value='camera_optical_frame',
        description='Frame of the camera that is started here; of several, each has its name and '
        'a _ before it.'),
    DeclareLaunchArgument(
        'rviz', default_value='false', choices=BOOLEAN,
        description='Show overlay, mesh, landmarks and TF in RViz.'),
    DeclareLaunchArgument(
        'rviz_config', default_value=str(CONFIG / 'head_tracking.rviz'),
        description='What RViz shows.'),
    DeclareLaunchArgument(
        'fixed_frame', default_value='',
        description='Fixed frame of RViz; empty: frame_id, or that of the first camera.'),
    DeclareLaunchArgument(
        'diagnostics', default_value='false', choices=BOOLEAN,
        description='Start a diagnostic_aggregator with config/diagnostics.yaml; leave it out '
        'where one runs already.'),
    DeclareLaunchArgument(
        'use_sim_time', default_value='false', choices=BOOLEAN,
        description='Take the time from /clock, as when a bag is played.'),
    DeclareLaunchArgument(
        'autostart', default_value='true', choices=BOOLEAN,
        description='Configure and activate at start; else by `ros2 lifecycle`.'),
    DeclareLaunchArgument(
        'respawn', default_value='false', choices=BOOLEAN,
        description='Start the tracker and the driver again when they have ended; else the end of '
        'the tracker ends all.'),
    DeclareLaunchArgument(
        'log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Least severity that head_tracker logs.'),
    DeclareLaunchArgument(
        'large_data', default_value='false', choices=BOOLEAN,
        description='FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for all processes here: no loss of '
        'large best-effort images; the other processes need it, too.'),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *ARGUMENTS,
        SetEnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA',
                               condition=IfCondition(LaunchConfiguration('large_data'))),
        OpaqueFunction(function=nodes),
    ])


def nodes(context: LaunchContext) -> list[Node]:
    """Return everything that the arguments ask for."""
    given = dict(context.launch_configurations)
    if given['large_data'] == 'true' and this_host_only():
        get_logger('head_tracking').warning(
            'large_data:=true has no effect while discovery is restricted to this host: unset '
            'ROS_AUTOMATIC_DISCOVERY_RANGE and ROS_LOCALHOST_ONLY')
    cameras = [name.strip() for name in given['cameras'].split(',')]
    images = topics(given, 'image', cameras)
    camera_infos = topics(given, 'camera_info', cameras)
    started = [tracker(given, cameras, images, camera_infos)]
    if given['camera'] != 'none':
        sources = one_each(given, 'source', cameras)
        started += [driver(given, *each) for each in
                    zip(cameras, sources, images, camera_infos, strict=True)]
    if given['rviz'] == 'true':
        started.append(rviz(given, cameras, images))
    if given['diagnostics'] == 'true':
        started.append(aggregator(given))
    return started


def tracker(
    given: dict[str, str], cameras: list[str], images: list[str], camera_infos: list[str],
) -> Node:
    """Return the node that answers the images of all cameras."""
    chosen: dict[str, Any] = {name: text(given[name])
                              for name in ('device', 'image_transport') if given[name]}
    for name in ('model', 'model_folder'):
        if given[name]:
            # Wherever the node is started, it is the one that was meant here.
            chosen[name] = text(str(Path(given[name]).expanduser().absolute()))
    if any(cameras):
        chosen['cameras'] = cameras
    if given['rep155']:
        chosen['rep155'] = given['rep155'] == 'true'
    if given['rep155'] == 'true':
        required('hri_msgs', 'rep155:=true')
    respawn = given['respawn'] == 'true'
    return Node(
        package='trans3dhead', executable='head_tracker', name='head_tracker',
        namespace=given['namespace'], output='screen',
        parameters=[existing(given, 'params_file'), use_sim_time(given),
                    {'autostart': given['autostart'] == 'true', **chosen}],
        remappings=[
            *((under(name, 'image_raw'), image)
              for name, image in zip(cameras, images, strict=True)),
            *((under(name, 'camera_info'), info)
              for name, info in zip(cameras, camera_infos, strict=True)),
        ],
        ros_arguments=['--log-level', given['log_level']],
        sigterm_timeout=PATIENCE, respawn=respawn, respawn_delay=RESPAWN_DELAY,
        on_exit=None if respawn else Shutdown(reason='head_tracker has ended'))


def driver(given: dict[str, str], name: str, source: str, image: str, camera_info: str) -> Node:
    """Return what publishes the images of one camera."""
    camera = given['camera']
    kind = DRIVERS[camera]
    required(kind.package, f'camera:={camera}')
    file = camera == 'file'
    parameters: dict[str, Any] = {kind.frame_id: text(frame_of(given, name))}
    if file:
        if given['image_transport'] == 'compressed':
            raise RuntimeError('camera:=file sends raw images: leave out image_transport')
        source = readable(source)
        parameters['repeat'] = given['repeat'] == 'true'
        # Without autostart somebody takes his time; the publisher then waits for any listener.
        parameters['wait_for'] = ['head_tracker' if given['autostart'] == 'true' else '']
    if source:
        parameters[kind.source] = text(source)
    params_file = given['camera_params_file'] or str(CONFIG / f'camera_{camera}.yaml')
    return Node(
        package=kind.package, executable=kind.executable, output='screen',
        namespace=under(given['namespace'].rstrip('/'), name) if name else given['namespace'],
        parameters=[existing({'camera_params_file': params_file}, 'camera_params_file'),
                    parameters],
        # Relative names already lie under the camera's: that is the driver's namespace.
        remappings=[('image_raw', relative(name, image)),
                    ('image_raw/compressed', relative(name, image) + '/compressed'),
                    ('camera_info', relative(name, camera_info))],
        sigterm_timeout=PATIENCE, respawn=given['respawn'] == 'true' and not file,
        respawn_delay=RESPAWN_DELAY)


def rviz(given: dict[str, str], cameras: list[str], images: list[str]) -> Node:
    """Return RViz; its displays name their topics relative to its namespace."""
    required('rviz2', 'rviz:=true')
    frame = given['fixed_frame'] or frame_of(given, cameras[0])
    return Node(
        package='rviz2', executable='rviz2', name='rviz2', output='screen',
        namespace=given['namespace'], parameters=[use_sim_time(given)],
        arguments=['-d', existing(given, 'rviz_config'), '-f', frame],
        remappings=[(under(name, 'image_raw'), image)
                    for name, image in zip(cameras, images, strict=True)])


def aggregator(given: dict[str, str]) -> Node:
    """Return the node that sorts and times the diagnostics."""
    required('diagnostic_aggregator', 'diagnostics:=true')
    return Node(
        package='diagnostic_aggregator', executable='aggregator_node', output='screen',
        parameters=[str(CONFIG / 'diagnostics.yaml'), use_sim_time(given)])


def frame_of(given: dict[str, str], camera: str) -> str:
    """Return the frame of a camera that is started here."""
    return f'{camera}_{given["frame_id"]}' if camera else given['frame_id']


def one_each(given: dict[str, str], argument: str, cameras: list[str]) -> list[str]:
    """Return the value of an argument for every camera."""
    # The name of a single file may hold a comma.
    values = given[argument].split(',') if len(cameras) > 1 else [given[argument]]
    if len(values) == 1:
        values *= len(cameras)
    if len(values) != len(cameras):
        raise RuntimeError(f'{argument}:={given[argument]} has {len(values)} entries for '
                           f'{len(cameras)} cameras ({given["cameras"]})')
    return [value.strip() for value in values]


def topics(given: dict[str, str], argument: str, cameras: list[str]) -> list[str]:
    """Return a topic's name for every camera."""
    names = [under(camera, value) for camera, value in
             zip(cameras, one_each(given, argument, cameras), strict=True)]
    if len(set(names)) < len(names):
        raise RuntimeError(f'{argument}:={given[argument]} is the same for several cameras: give '
                           'one each, with commas between, or a relative name')
    return names


def under(prefix: str, name: str) -> str:
    """Return a relative name behind a prefix; an absolute one stays as it is."""
    return name if not prefix or name.startswith('/') else f'{prefix}/{name}'


def relative(prefix: str, name: str) -> str:
    """Return a name as it is called inside the namespace of its prefix."""
    return name.removeprefix(f'{prefix}/') if prefix else name


def readable(source: str) -> str:
    """Return a source of camera:=file, or raise at once where nothing is there."""
    if not source:
        raise RuntimeError('camera:=file plays a file: give source:=FILE as well')
    if '://' in source or source.isdigit():
        return source
    path = Path(source).expanduser()
    if not path.exists():
        raise RuntimeError(f'source:={source} does not exist')
    return str(path)


def existing(given: dict[str, str], argument: str) -> str:
    """Return the file that an argument names; launch itself would go on without it."""
    path = Path(given[argument]).expanduser()
    if not path.is_file():
        raise RuntimeError(f'{argument}:={given[argument]} is no file')
    return str(path)


def required(package: str, reason: str) -> None:
    """Raise where a package is not installed, with the command that mends it."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        distribution = os.environ.get('ROS_DISTRO', '<distribution>')
        raise RuntimeError(f'{reason} needs {package}: sudo apt install '
                           f'ros-{distribution}-{package.replace("_", "-")}') from None


def this_host_only() -> bool:
    """Whether rmw_fastrtps brings transports of its own in the place of Fast DDS's."""
    return (os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '').upper() == 'LOCALHOST'
            or os.environ.get('ROS_LOCALHOST_ONLY') == '1')


def text(value: str) -> ParameterValue:
    """Return a parameter that stays a string, also where it looks like a number."""
    return ParameterValue(value, value_type=str)


def use_sim_time(given: dict[str, str]) -> dict[str, bool]:
    """Return the parameter that every node has."""
    return {'use_sim_time': given['use_sim_time'] == 'true'}
