"""The message for a Python package that a subcommand needs and that is not installed."""

from __future__ import annotations

_ROS = ('rclpy', 'trans3dhead', 'ament_index_python')
_ROS_ENDINGS = ('_msgs', '_interfaces')
EXTRAS = {
    'training': ('fast_simplification', 'matplotlib', 'onnx', 'onnxruntime', 'onnxscript',
                 'safetensors', 'tensorboard', 'torch', 'trans3dhead_training'),
    'viewer': ('rerun', 'rerun_cli'),
}
"""Extra of the distribution → modules that it brings."""


def missing_package(error: ModuleNotFoundError) -> str | None:
    """
    Say how to install the package that an import did not find.

    :param error: what the import raised.
    :return: one line; None where a module of our own is missing, which is a defect.
    """
    module = error.name or ''
    name = module.split('.')[0]
    if not name or (name.startswith('trans3dhead_') and name != module):
        return None
    if name in _ROS or name.endswith(_ROS_ENDINGS):
        return (f'this needs ROS 2, and {name} is not installed; run `make setup`, or source a '
                'workspace with trans3dhead')
    extra = next((extra for extra, names in EXTRAS.items() if name in names), None)
    hint = '' if extra is None else f"; in a checkout: python3 -m pip install '.[{extra}]'"
    return f'this needs the Python package {name}, which is not installed{hint}'
