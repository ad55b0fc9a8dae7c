"""What to say where a command finds a package missing that not everybody has."""

from __future__ import annotations

from trans3dhead_ros.errors import UserError

_ROS = ('rclpy', 'trans3dhead', 'ament_index_python')
_ROS_ENDINGS = ('_msgs', '_interfaces')


def missing_package(command: str, error: ModuleNotFoundError) -> UserError:
    """
    Return what to raise in place of an import's error: one line with the mend.

    :param command: what needs the package, such as `view`.
    """
    name = (error.name or '').split('.')[0]
    if name in _ROS or name.endswith(_ROS_ENDINGS):
        return UserError(f'{command} needs ROS 2, and {name} is not installed; run `make setup`, '
                          'or source a workspace with trans3dhead')
    return UserError(f'{command} needs the Python package {name}, which is not installed')
