"""Head tracking, for cameras that are already running or are started here."""

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
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(get_package_share_directory('trans3dhead')) / 'config'
BOOLEAN = ['true', 'false']
# The tracker finishes its frame; on a busy machine that takes longer than the 5 s of launch.
SIGTERM_TIMEOUT = '20'  # s


@dataclass(frozen=True)
class Driver:
    """A node that publishes the images of a camera."""

    package: str
    """Its package."""
    executable: str
    """Its executable."""
    source: str
    """Parameter that names the device or the file."""
    frame_id: str
    """Parameter that names the frame of the images."""


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
        description='Names of cameras that share one node and one model, such as front,rear; '
        'empty: one camera whose topics have no prefix. With names, `image`, `camera_info` and '
        '`source` may be lists with one entry per camera.'),
    DeclareLaunchArgument(
        'image', default_value='image_raw',
        description='Image topic, without /compressed; relative to the name of the camera.'),
    DeclareLaunchArgument(
        'camera_info', default_value='',
        description='Calibration topic of the same camera; relative to the name of the camera; '
        'empty: camera_info in the namespace of its images.'),
    DeclareLaunchArgument(
        'image_transport', default_value='', choices=['', 'raw', 'compressed'],
        description='Transport of the images; empty: as in params_file, otherwise raw.'),
    DeclareLaunchArgument(
        'device', default_value='',
        description='Device of the networks: auto, cpu, cuda or cuda:N; empty: as in '
        'params_file, otherwise auto.'),
    DeclareLaunchArgument(
        'backend', default_value='',
        description='Inference engine: auto, onnxruntime, openvino, opencv or torch; empty: '
        'as in params_file, otherwise auto.'),
    DeclareLaunchArgument(
        'model', default_value='',
        description='Either file of a model, .onnx or .safetensors, or open; empty: as in '
        'params_file, otherwise the bundled default.'),
    DeclareLaunchArgument(
        'model_folder', default_value='',
        description='Folder from which the service load_model may load; empty: as in '
        'params_file, otherwise that of the model.'),
    DeclareLaunchArgument(
        'detector', default_value='',
        description='Either file of a head detector, a YuNet .onnx file, or open; empty: as in '
        'params_file, otherwise the bundled detector.'),
    DeclareLaunchArgument(
        'rep155', default_value='', choices=['', *BOOLEAN],
        description='Also publish faces according to REP-155 (ROS4HRI), which needs hri_msgs; '
        'empty: as in params_file, otherwise false.'),
    DeclareLaunchArgument(
        'camera', default_value='none', choices=['none', *DRIVERS],
        description='Camera driver to start; file plays `source`.'),
    DeclareLaunchArgument(
        'source', default_value='',
        description='Input of the driver: with camera:=file a picture, folder, GIF, video, URL or '
        'camera index; otherwise a device such as /dev/video2. Empty: that of '
        'camera_params_file.'),
    DeclareLaunchArgument(
        'repeat', default_value='false', choices=BOOLEAN,
        description='With camera:=file: repeat `source`.'),
    DeclareLaunchArgument(
        'camera_params_file', default_value='',
        description='Parameter file of the driver; empty: config/camera_<driver>.yaml of this '
        'package.'),
    DeclareLaunchArgument(
        'frame_id', default_value='camera_optical_frame',
        description='Frame of the camera that is started here; with several cameras, prefixed with '
        'the name of the camera and _.'),
    DeclareLaunchArgument(
        'rviz', default_value='false', choices=BOOLEAN,
        description='Show overlay, mesh, landmarks and TF in RViz.'),
    DeclareLaunchArgument(
        'rviz_config', default_value=str(CONFIG / 'head_tracking.rviz'),
        description='Configuration file of RViz.'),
    DeclareLaunchArgument(
        'fixed_frame', default_value='',
        description='Fixed frame of RViz; empty: that of the (first) camera.'),
    DeclareLaunchArgument(
        'diagnostics', default_value='false', choices=BOOLEAN,
        description='Start a diagnostic_aggregator with config/diagnostics.yaml; not needed if one '
        'is already running.'),
    DeclareLaunchArgument(
        'use_sim_time', default_value='false', choices=BOOLEAN,
        description='Use the time of /clock, for example when a bag is played.'),
    DeclareLaunchArgument(
        'autostart', default_value='true', choices=BOOLEAN,
        description='Configure and activate at start; otherwise use `ros2 lifecycle`.'),
    DeclareLaunchArgument(
        'respawn', default_value='true', choices=BOOLEAN,
        description='Restart the tracker if it crashes, and the driver if it exits; '
        'otherwise the exit of the tracker ends the launch.'),
    DeclareLaunchArgument(
        'respawn_delay', default_value='2.0',
        description='Seconds between a crash and the restart.'),
    DeclareLaunchArgument(
        'respawn_limit', default_value='5',
        description='The launch ends with an error if the tracker crashes more often than this '
        'within five minutes.'),
    DeclareLaunchArgument(
        'log_level', default_value='info', choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Minimum severity of the log of head_tracker.'),
    DeclareLaunchArgument(
        'large_data', default_value='false', choices=BOOLEAN,
        description='Set FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for all processes of the launch, so '
        'that no large best-effort images are lost; other processes need the same setting.'),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *ARGUMENTS,
        SetEnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA',
                               condition=IfCondition(LaunchConfiguration('large_data'))),
        OpaqueFunction(function=nodes),
    ])


def nodes(context: LaunchContext) -> list[Node]:
    """Return the nodes that the arguments request."""
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
    """Return the node that tracks heads in the images of all cameras."""
    chosen: dict[str, Any] = {name: text(given[name])
                              for name in ('device', 'backend', 'image_transport')
                              if given[name]}
    for name in ('model', 'detector'):
        if given[name]:
            chosen[name] = text(path_or_name(given[name]))
    if given['model_folder']:
        chosen['model_folder'] = text(absolute(given['model_folder']))
    if any(cameras):
        chosen['cameras'] = cameras
    if given['rep155']:
        chosen['rep155'] = given['rep155'] == 'true'
    if given['rep155'] == 'true':
        required('hri_msgs', 'rep155:=true')
    # Imported here, so that `--show-args` does not need it.
    from trans3dhead_ros.ros.restart_policy import RestartPolicy

    delay = number(given, 'respawn_delay')
    policy = RestartPolicy(
        int(number(given, 'respawn_limit')) if given['respawn'] == 'true' else 0)

    def started() -> Node:
        return Node(
            package='trans3dhead', executable='head_tracker', name='head_tracker',
            namespace=given['namespace'], output='screen',
            parameters=[existing(given, 'params_file'), use_sim_time(given),
                        {'autostart': given['autostart'] == 'true', 'restarts': policy.restarts,
                         **chosen}],
            remappings=[
                *((under(name, 'image_raw'), image)
                  for name, image in zip(cameras, images, strict=True)),
                *((under(name, 'camera_info'), info)
                  for name, info in zip(cameras, camera_infos, strict=True)),
            ],
            ros_arguments=['--log-level', given['log_level']],
            sigterm_timeout=SIGTERM_TIMEOUT, on_exit=after_exit)

    # `respawn` of launch has no limit on Humble, and it repeats a refused start.
    def after_exit(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        if context.is_shutdown:
            return None
        # What it raises ends the launch with code 1.
        reason = policy.after_exit(event.returncode)
        if not reason:
            return [Shutdown(reason='head_tracker has ended')]
        return [LogInfo(msg=reason), TimerAction(period=delay, actions=[started()])]

    return started()


def driver(given: dict[str, str], name: str, source: str, image: str, camera_info: str) -> Node:
    """Return the node that publishes the images of one camera."""
    camera = given['camera']
    kind = DRIVERS[camera]
    required(kind.package, f'camera:={camera}')
    file = camera == 'file'
    parameters: dict[str, Any] = {kind.frame_id: text(frame_of(given, name))}
    if file:
        if given['image_transport'] == 'compressed':
            raise RuntimeError('camera:=file publishes raw images: omit image_transport')
        source = readable(source)
        parameters['repeat'] = given['repeat'] == 'true'
        # Without autostart, activation may take any time: wait for any subscriber.
        parameters['wait_for'] = ['head_tracker' if given['autostart'] == 'true' else '']
    if source:
        parameters[kind.source] = text(source)
    params_file = given['camera_params_file'] or str(CONFIG / f'camera_{camera}.yaml')
    return Node(
        package=kind.package, executable=kind.executable, output='screen',
        namespace=under(given['namespace'].rstrip('/'), name) if name else given['namespace'],
        parameters=[existing({'camera_params_file': params_file}, 'camera_params_file'),
                    parameters],
        # The namespace of the driver already contains the name of the camera.
        remappings=[('image_raw', relative(name, image)),
                    ('image_raw/compressed', relative(name, image) + '/compressed'),
                    ('camera_info', relative(name, camera_info))],
        sigterm_timeout=SIGTERM_TIMEOUT, respawn=given['respawn'] == 'true' and not file,
        respawn_delay=number(given, 'respawn_delay'))


def rviz(given: dict[str, str], cameras: list[str], images: list[str]) -> Node:
    """Return RViz, whose displays have topics relative to its namespace."""
    required('rviz2', 'rviz:=true')
    frame = given['fixed_frame'] or frame_of(given, cameras[0])
    return Node(
        package='rviz2', executable='rviz2', name='rviz2', output='screen',
        namespace=given['namespace'], parameters=[use_sim_time(given)],
        arguments=['-d', existing(given, 'rviz_config'), '-f', frame],
        remappings=[(under(name, 'image_raw'), image)
                    for name, image in zip(cameras, images, strict=True)])


def aggregator(given: dict[str, str]) -> Node:
    """Return the node that aggregates the diagnostics."""
    required('diagnostic_aggregator', 'diagnostics:=true')
    return Node(
        package='diagnostic_aggregator', executable='aggregator_node', output='screen',
        parameters=[str(CONFIG / 'diagnostics.yaml'), use_sim_time(given)])


def frame_of(given: dict[str, str], camera: str) -> str:
    """Return the frame of a camera that is started here."""
    return f'{camera}_{given["frame_id"]}' if camera else given['frame_id']


def one_each(given: dict[str, str], argument: str, cameras: list[str]) -> list[str]:
    """Return the value of an argument for every camera."""
    # The name of a single file may contain a comma.
    values = given[argument].split(',') if len(cameras) > 1 else [given[argument]]
    if len(values) == 1:
        values *= len(cameras)
    if len(values) != len(cameras):
        raise RuntimeError(f'{argument}:={given[argument]} has {len(values)} entries for '
                           f'{len(cameras)} cameras ({given["cameras"]})')
    return [value.strip() for value in values]


def topics(given: dict[str, str], argument: str, cameras: list[str]) -> list[str]:
    """Return the name of a topic for every camera."""
    names = [under(camera, value) for camera, value in
             zip(cameras, one_each(given, argument, cameras), strict=True)]
    if argument == 'camera_info' and not given[argument]:
        names = [beside(image) for image in topics(given, 'image', cameras)]
    if len(set(names)) < len(names):
        raise RuntimeError(f'{argument}:={given[argument]} is the same for several cameras: give '
                           'one for each, separated by commas, or a relative name')
    return names


def beside(image: str) -> str:
    """Return the name of the calibration topic in the namespace of the images."""
    return f'{image.rpartition("/")[0]}/camera_info' if '/' in image else 'camera_info'


def number(given: dict[str, str], argument: str) -> float:
    """Return the value of a numeric argument, or raise if it is not a number."""
    try:
        value = float(given[argument])
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float('inf'):
        raise RuntimeError(f'{argument}:={given[argument]} is not a number of at least 0')
    return value


def under(prefix: str, name: str) -> str:
    """Return a name with a prefix; an absolute name is returned unchanged."""
    return name if not prefix or name.startswith('/') else f'{prefix}/{name}'


def relative(prefix: str, name: str) -> str:
    """Return a name relative to its prefix."""
    return name.removeprefix(f'{prefix}/') if prefix else name


def readable(source: str) -> str:
    """Return the source of camera:=file, or raise if it does not exist."""
    if not source:
        raise RuntimeError('camera:=file plays a file: give source:=FILE')
    if '://' in source or source.isdigit():
        return source
    path = Path(source).expanduser()
    if not path.exists():
        raise RuntimeError(f'source:={source} does not exist')
    return str(path)


def path_or_name(model: str) -> str:
    """Return the path of a model or detector, or the name of a bundled one."""
    # Imported here, so that `--show-args` does not need NumPy.
    from trans3dhead_ros.model_files.model_metadata import is_bundled_name
    return model if is_bundled_name(model) else absolute(model)


def absolute(path: str) -> str:
    """Return an absolute path, as the node may have another working directory."""
    return str(Path(path).expanduser().absolute())


def existing(given: dict[str, str], argument: str) -> str:
    """Return the file that an argument names; launch would silently ignore a missing one."""
    path = Path(given[argument]).expanduser()
    if not path.is_file():
        raise RuntimeError(f'{argument}:={given[argument]} is not a file')
    return str(path)


def required(package: str, reason: str) -> None:
    """Raise if a package is not installed, with the command that installs it."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        distribution = os.environ.get('ROS_DISTRO', '<distribution>')
        raise RuntimeError(f'{reason} needs {package}: sudo apt install '
                           f'ros-{distribution}-{package.replace("_", "-")}') from None


def this_host_only() -> bool:
    """Whether rmw_fastrtps overrides the transports of Fast DDS."""
    return (os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '').upper() == 'LOCALHOST'
            or os.environ.get('ROS_LOCALHOST_ONLY') == '1')


def text(value: str) -> ParameterValue:
    """Return a parameter that is a string even if it looks like a number."""
    return ParameterValue(value, value_type=str)


def use_sim_time(given: dict[str, str]) -> dict[str, bool]:
    """Return the parameter use_sim_time."""
    return {'use_sim_time': given['use_sim_time'] == 'true'}
