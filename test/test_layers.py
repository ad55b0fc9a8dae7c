"""Dependencies point down only, and nothing but the ROS layer needs ROS."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import trans3dhead_ros

PACKAGE = Path(trans3dhead_ros.__file__).parent

# Lower layers first; a module may import its own layer and those before it. Training and ROS stand
# beside each other on the library, and only the command line knows both.
LAYERS = {
    'landmarks': 0,
    'geometry': 0,
    'arguments': 0,
    'camera': 1,
    'device': 1,
    'head_model': 1,
    'network': 2,
    'perception': 3,
    'training': 4,
    'ros': 4,
    'commands': 5,
    'cli': 6,
}
# The rooms of training, and what else of them each may import; `preparation` knows them all.
ROOMS = {
    'data': (),
    'fitting': ('data',),
    'render': (),
    'people': ('render', 'data'),
    'scenes': ('people', 'render'),
    'rotation': ('render', 'fitting'),
    'evaluation': ('data',),
}
FILES = sorted(PACKAGE.rglob('*.py'))


def layer_of(module: str) -> str:
    """'network' of 'trans3dhead_ros.network.model'; '' of the package itself."""
    parts = module.split('.')
    return parts[1] if len(parts) > 1 else ''


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def own_imports(path: Path) -> set[str]:
    """Every module of this package that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path.name} imports relatively'
            found.add(node.module)
            # `from trans3dhead_ros import perception` names a layer after the import.
            found.update(f'{node.module}.{alias.name}' for alias in node.names)
    names = {name for name in found if name.split('.')[0] == 'trans3dhead_ros'}
    return {name for name in names if layer_of(name) in LAYERS}


@pytest.mark.parametrize('path', FILES, ids=module_name)
def test_imports_point_down(path):
    layer = layer_of(module_name(path))
    if layer == '':
        allowed = {name for name, rank in LAYERS.items() if rank <= LAYERS['perception']}
    else:
        assert layer in LAYERS, f'{path.name} is in no layer of LAYERS'
        allowed = {name for name, rank in LAYERS.items() if rank < LAYERS[layer]} | {layer}
    too_high = {name for name in own_imports(path) if layer_of(name) not in allowed}
    assert not too_high


@pytest.mark.parametrize('room', ROOMS)
def test_rooms_of_training_import_what_they_may(room):
    forbidden = {*ROOMS, 'preparation'} - {room, *ROOMS[room]}
    for path in sorted((PACKAGE / 'training' / room).glob('*.py')):
        used = {name.split('.')[2] for name in own_imports(path)
                if layer_of(name) == 'training' and name.count('.') > 1}
        assert not used & forbidden, path.name


def test_everything_but_the_ros_layer_imports_without_ros():
    modules = [
        info.name
        for info in pkgutil.walk_packages([str(PACKAGE)], 'trans3dhead_ros.')
        if layer_of(info.name) != 'ros'
    ]
    imports_without(
        ('rclpy', 'trans3dhead', 'sensor_msgs', 'geometry_msgs', 'std_msgs', 'tf2_msgs'), modules)


def test_what_a_robot_runs_imports_without_what_training_needs():
    modules = [
        info.name
        for info in pkgutil.walk_packages([str(PACKAGE)], 'trans3dhead_ros.')
        if layer_of(info.name) not in ('ros', 'training')
    ]
    imports_without(('matplotlib', 'fast_simplification', 'trans3dhead_ros.training'), modules)


def imports_without(blocked: tuple[str, ...], modules: list[str]) -> None:
    # None in sys.modules makes `import` fail as it does where the package is not installed.
    script = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({blocked!r}))
for name in {['trans3dhead_ros', *modules]!r}:
    importlib.import_module(name)
from trans3dhead_ros import Camera, Head, HeadPipeline
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
