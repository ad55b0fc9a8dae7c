"""The messages are a public interface: names, types and their documentation."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ament_index_python.packages import get_package_share_directory
from rclpy.node import Node
from tf2_msgs.msg import TFMessage
from trans3dhead.msg import Head, HeadArray, LandmarkArray
from trans3dhead.srv import LoadModel

from tools.type_hashes import PINNED, installed_hashes

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.ros
INTERFACES = sorted([*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv')])

FIELDS = {
    Head: {
        'id': 'int32',
        'score': 'float',
        'box': 'float[4]',
        'pose': 'geometry_msgs/PoseWithCovariance',
        'metric': 'boolean',
        'yaw': 'float',
        'pitch': 'float',
        'roll': 'float',
        'landmarks_px': 'sequence<float>',
        'landmarks_m': 'sequence<float>',
        'landmark_scale_px': 'sequence<float>',
        'shape': 'sequence<float>',
        'expression': 'sequence<float>',
        'face_visible': 'boolean',
    },
    HeadArray: {
        'header': 'std_msgs/Header',
        'model': 'string',
        'expression_names': 'sequence<string>',
        'heads': 'sequence<trans3dhead/Head>',
    },
    LandmarkArray: {
        'header': 'std_msgs/Header',
        'ids': 'sequence<int32>',
        'px': 'sequence<float>',
        'm': 'sequence<float>',
        'scale_px': 'sequence<float>',
    },
    LoadModel.Request: {'path': 'string', 'force': 'boolean'},
    LoadModel.Response: {'success': 'boolean', 'version': 'string', 'message': 'string'},
}


@pytest.mark.parametrize('interface', FIELDS, ids=lambda interface: interface.__name__)
def test_fields_are_as_documented(interface):
    assert interface.get_fields_and_field_types() == FIELDS[interface]


def test_type_hashes_are_those_of_other_machines():
    """Two nodes whose hashes of a type differ do not connect: a change is never an accident."""
    found = installed_hashes()
    if not found:
        pytest.skip('the sourced ROS 2 is older than type hashes')
    assert found == json.loads((ROOT / PINNED).read_text()), (
        'a message has changed: say so in CHANGELOG.rst, run `make setup` and '
        '`python -m tools.type_hashes`, and commit what it writes')


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_field_has_a_comment_above_it(path):
    previous = ''
    for line in path.read_text().splitlines():
        if line and line != '---' and not line.startswith('#'):
            assert previous.startswith('#'), f'{path.name}: no comment above "{line}"'
        previous = line


def test_the_messages_can_be_built_alone():
    share = Path(get_package_share_directory('trans3dhead'))
    if not share.is_relative_to(sys.prefix):
        pytest.skip('a workspace with the node is sourced')
    # As `make setup` has built them, with TRANS3DHEAD_INTERFACES_ONLY.
    assert {path.name for path in share.iterdir()} >= {'msg', 'srv', 'cmake', 'package.xml'}
    assert not {path.name for path in share.iterdir()} & {'launch', 'config'}
    assert not (share.parents[1] / 'lib' / 'trans3dhead').exists()


@pytest.fixture
def node(ros):
    node = Node('test_interfaces')
    yield node
    node.destroy_node()


def test_tf2_msgs_is_wire_compatible_with_every_other_ros(node):
    """A message of another type hash would be refused by the TF listeners of a real robot."""
    node.create_publisher(TFMessage, '/tf', 1)
    endpoint = next(end for end in node.get_publishers_info_by_topic('/tf')
                    if end.node_name == 'test_interfaces')
    if not hasattr(endpoint, 'topic_type_hash'):
        pytest.skip('the sourced ROS 2 is older than type hashes')
    assert str(endpoint.topic_type_hash) == (
        'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
    )
