"""The launch files, as `ros2 launch` reads them; skipped where launch is not installed."""

import importlib.util
from pathlib import Path

import pytest

# Not 'launch': Python takes our folder of that name for a package.
pytest.importorskip('launch_ros', reason='launch and launch_ros are not installed')

import launch
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

ROOT = Path(__file__).resolve().parent.parent


def description(name):
    try:
        get_package_share_directory('trans3dhead')
    except PackageNotFoundError:
        pytest.skip('the package trans3dhead is not built')
    path = ROOT / 'launch' / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize('name', ['head_tracking.launch.py', 'demo.launch.py'])
def test_every_argument_is_described(name):
    arguments = description(name).get_launch_arguments()
    assert arguments
    for argument in arguments:
        assert argument.description and argument.default_value is not None


def test_choices_are_enforced():
    arguments = {a.name: a for a in description('head_tracking.launch.py').get_launch_arguments()}
    assert arguments['camera'].choices == ['none', 'usb_cam', 'v4l2_camera', 'file']
    assert arguments['image_transport'].choices == ['raw', 'compressed']
    for name in ('rviz', 'use_sim_time', 'autostart', 'large_data'):
        assert arguments[name].choices == ['true', 'false']
    context = launch.LaunchContext()
    context.launch_configurations['camera'] = 'pinhole'
    with pytest.raises(RuntimeError, match='pinhole'):
        arguments['camera'].visit(context)


def test_file_camera_needs_a_source():
    context = launch.LaunchContext()
    entities = description('head_tracking.launch.py').entities
    for argument in entities:
        if isinstance(argument, launch.actions.DeclareLaunchArgument):
            argument.visit(context)
    context.launch_configurations['camera'] = 'file'
    driver = next(e for e in entities if isinstance(e, launch.actions.OpaqueFunction))
    with pytest.raises(RuntimeError, match='source'):
        driver.visit(context)
    context.launch_configurations['source'] = 'clip.mp4'
    assert len(driver.visit(context)) == 1
