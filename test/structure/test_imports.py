"""Imports point down only, folders form no cycle, and each package needs only its own."""

import pkgutil
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from importlib import import_module

import pytest

from tools.import_graph import (
    FILES,
    ROOT,
    RUNTIME,
    TRAINING,
    folder_graph,
    folder_of,
    is_interface,
    own_imports,
)

# Lower layers first; a folder may import itself and any folder of a lower layer of its package.
# '' are the files at the top of a package; its `__init__`, the public interface, stands alone.
LAYERS = {
    RUNTIME: (
        ('',),
        ('model_files',),
        ('network',),
        ('inference',),
        ('perception',),
        ('media', 'bags'),
        ('bench',),
        ('ros',),
        ('ros.hri', 'ros.demo'),
        ('ros.node', 'ros.bag_tracking'),
        ('viewer',),
        ('ros.live_viewer',),
        ('cli',),
    ),
    TRAINING: (
        ('core', 'synthesis', 'synthesis.render'),
        ('data',),
        ('detection',),
        ('losses', 'optimization', 'formats', 'predictors', 'synthesis.preview'),
        ('fitting', 'export'),
        ('synthesis.anatomy', 'synthesis.occluders', 'synthesis.turned_photos'),
        ('synthesis.appearance',),
        ('synthesis.people',),
        ('synthesis.scenes',),
        ('preparation', 'engine', 'evaluation'),
        ('ablation', 'reports', 'gate'),
        ('update',),
        ('cli',),
    ),
}
# The rooms of the runtime that training may build on.
TRAINING_BUILDS_ON = ('', 'model_files', 'network', 'inference', 'perception', 'media', 'bags')
# The one file of the runtime outside `network` that imports it, and with it torch.
IMPORTS_NETWORK = 'trans3dhead_ros.inference.torch_engine'
# The one room of the runtime that knows of training, inside the function that needs it.
KNOWS_TRAINING = 'cli'


def rank_of(package: str, room: str) -> int:
    for rank, rooms in enumerate(LAYERS[package]):
        if room in rooms:
            return rank
    raise AssertionError(f'{package}.{room} is in no layer of LAYERS')


@pytest.mark.parametrize('module', [name for name in FILES if not is_interface(name)])
def test_imports_point_down(module):
    package, room = folder_of(module)
    rank = rank_of(package, room)
    for name in own_imports(module):
        other_package, other_room = folder_of(name)
        if other_package == package:
            assert other_room == room or rank_of(package, other_room) < rank, name
        elif package == TRAINING:
            assert other_room in TRAINING_BUILDS_ON, name
        else:
            assert room == KNOWS_TRAINING, name


def test_one_file_of_the_runtime_imports_the_network():
    knowing = {module for module in FILES if folder_of(module)[0] == RUNTIME
               and folder_of(module)[1] != 'network' and not is_interface(module)
               and any(folder_of(name) == (RUNTIME, 'network') for name in own_imports(module))}
    assert knowing == {IMPORTS_NETWORK}


def test_there_are_no_import_cycles_between_folders():
    TopologicalSorter(folder_graph()).prepare()  # raises CycleError


def test_every_file_name_occurs_once_in_a_package():
    homes = defaultdict(list)
    for module, path in FILES.items():
        if path.name != '__init__.py':
            homes[path.relative_to(ROOT).parts[0], path.name].append(module)
    # One name a subcommand: `cli/export.py` is the command and `export/` what it does.
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_no_folder_has_more_files_than_a_reader_can_survey():
    sizes = defaultdict(int)
    for path in FILES.values():
        sizes[path.parent.relative_to(ROOT)] += path.name != '__init__.py'
    assert {folder: size for folder, size in sizes.items() if size > 15} == {}


def modules_of(package: str, without: tuple[str, ...] = ()) -> list[str]:
    names = [info.name for info in
             pkgutil.walk_packages(import_module(package).__path__, f'{package}.')]
    return [name for name in names
            if not any(name.startswith(f'{package}.{room}') for room in without)]


def test_everything_but_the_ros_layer_imports_without_ros():
    imports_without(
        ('rclpy', 'trans3dhead', 'sensor_msgs', 'geometry_msgs', 'std_msgs', 'tf2_msgs'),
        modules_of(RUNTIME, ('ros', 'viewer')) + modules_of(TRAINING))


def test_what_a_robot_runs_imports_without_what_training_needs():
    imports_without(('matplotlib', 'fast_simplification', TRAINING),
                    modules_of(RUNTIME, ('ros', 'viewer')))


def test_what_a_robot_runs_imports_without_torch():
    imports_without(('torch',), [name for name in modules_of(RUNTIME, ('network', 'ros', 'viewer'))
                                 if name != IMPORTS_NETWORK])


def imports_without(blocked: tuple[str, ...], modules: list[str]) -> None:
    # None in sys.modules makes `import` fail as it does where the package is not installed.
    script = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({blocked!r}))
for name in {[RUNTIME, *modules]!r}:
    importlib.import_module(name)
from trans3dhead_ros import Camera, Head, HeadPipeline
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
