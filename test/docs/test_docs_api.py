"""The page about the node's interface and its SROS 2 policy match the running node."""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from tools.api_docs import PAGE, POLICY
from tools.interface_files import read_interface_file
from trans3dhead_ros.model_files.tensor_file import MAX_FILE_BYTES
from trans3dhead_ros.ros.tracker_parameters import tracker_specs

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
COMMAND = 'python -m tools.api_docs'


@pytest.fixture(scope='module')
def written(tmp_path_factory) -> Path:
    """Return the folder with what the command writes about the running node."""
    folder = tmp_path_factory.mktemp('api')
    done = subprocess.run(
        [sys.executable, *COMMAND.split()[1:], '--root', str(ROOT),
         '--output', str(folder)], capture_output=True, text=True, timeout=600,
        cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder


def difference(old: Path, new: Path) -> str:
    return '\n'.join(difflib.unified_diff(
        old.read_text().splitlines(), new.read_text().splitlines(), f'{old.name}, committed',
        f'{old.name}, from the running node', lineterm=''))


def test_the_page_is_of_the_running_node(written):
    found = difference(ROOT / PAGE, written / PAGE)
    assert not found, f'run `{COMMAND}` and commit what it writes:\n{found}'


@pytest.mark.skipif(os.environ.get('ROS_DISTRO') == 'humble',
                    reason='nodes of Humble serve no type descriptions')
def test_the_permissions_are_of_the_running_node(written):
    found = difference(ROOT / POLICY, written / POLICY)
    assert not found, f'run `{COMMAND}` and commit what it writes:\n{found}'


def test_the_permissions_grant_nothing_by_wildcard():
    policy = ElementTree.parse(ROOT / POLICY).getroot()
    assert (policy.tag, policy.get('version')) == ('policy', '0.2.0')
    (enclave,) = policy.iter('enclave')
    assert enclave.get('path') == '/head_tracker'
    names = [element.text for kind in ('topic', 'service') for element in policy.iter(kind)]
    assert names
    assert not [name for name in names if '*' in name]
    # It calls no service of another node.
    assert not [group for group in policy.iter('services') if group.get('request')]


def test_comments_of_a_message_are_its_documentation(tmp_path):
    path = tmp_path / 'Thing.srv'
    path.write_text('# About it,\n# in two lines.\n#\n# And more.\n\n'
                    '# Where,\n# in metres.\nfloat32[3] place\n---\n# Whether.\nbool good\n')
    file = read_interface_file(path)
    assert file.about == ('About it, in two lines.', 'And more.')
    (place,), (good,) = file.parts
    assert (place.type, place.name, place.comment) == ('float32[3]', 'place', 'Where, in metres.')
    assert (good.name, good.comment) == ('good', 'Whether.')


def test_a_field_without_a_comment_is_refused(tmp_path):
    path = tmp_path / 'Thing.msg'
    path.write_text('# About it.\n\nfloat32 place\n')
    with pytest.raises(ValueError, match='no comment above'):
        read_interface_file(path)


def test_nothing_that_the_node_imports_can_run_code_of_a_file():
    done = subprocess.run(
        [sys.executable, '-c', 'import sys, trans3dhead_ros.ros.node.head_tracker_node\n'
         'print(*(m.__file__ for n, m in sys.modules.items() if n.startswith("trans3dhead_ros")),'
         ' sep="\\n")'], capture_output=True, text=True, timeout=300, check=True)
    files = [Path(line) for line in done.stdout.splitlines()]
    assert len(files) > 20
    risky = re.compile(r'import pickle|torch\.load|np\.load|(?<![.\w])(?:eval|exec)\(')
    assert not {path.name for path in files if risky.search(path.read_text())}


def test_the_security_page_names_the_bounds_of_the_code():
    page = (ROOT / 'docs' / 'security.md').read_text()
    assert f'{MAX_FILE_BYTES // 2 ** 20} MiB' in page
    parameters = tracker_specs()
    for name in ('max_image_pixels', 'model_folder', 'allow_any_model_path', 'rep155'):
        assert name in parameters
        assert f'`{name}' in page
