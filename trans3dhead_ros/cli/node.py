"""Run the node `head_tracker`; the arguments are those of `ros2 run`, such as `--ros-args …`."""

from __future__ import annotations

from argparse import Namespace


def run(options: Namespace) -> int:
    """
    Run the node as this process.

    :param options: `arguments` as the user gave them.
    :return: exit code.
    """
    from trans3dhead_ros.ros.node.head_tracker import main
    return main(options.arguments)
