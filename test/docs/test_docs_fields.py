"""What the page about the interface says of fields holds for the messages that the node makes."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from made_heads import make_head
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from trans3dhead_ros.ros import messages

pytestmark = pytest.mark.ros

PAGE = (Path(__file__).resolve().parents[2] / 'docs' / 'ros_api.md').read_text()
HEADER = Header(frame_id='camera')
HEADS = [make_head(7, seed=7), make_head(9, seed=9)]


def section(title: str) -> str:
    return PAGE.split(f'\n## {title}\n', 1)[1].split('\n## ', 1)[0]


def described(title: str) -> dict[str, str]:
    """Return the fields of a message and what the page says of each."""
    return dict(re.findall(r'^\| `(\w+)` \| [^|]+ \| (.*) \|$', section(title), re.MULTILINE))


@pytest.mark.parametrize(('title', 'message'), [
    ('msg/HeadArray', messages.head_array(HEADER, HEADS, 'model', ['smile'])),
    ('msg/Head', messages.head_message(HEADS[0])),
    ('msg/LandmarkArray', messages.landmark_array(HEADER, HEADS))],
    ids=['HeadArray', 'Head', 'LandmarkArray'])
def test_the_fields_of_the_page_are_those_of_the_message(title, message):
    assert [*described(title)] == [*message.get_fields_and_field_types()]


def test_fields_are_as_long_as_the_page_says():
    head, texts = messages.head_message(HEADS[0]), described('msg/Head')
    for name in ('landmarks_px', 'landmarks_m'):
        count, = map(int, re.findall(r'(\d+) numbers x, y, z', texts[name]))
        assert len(getattr(head, name)) == count
    count, = map(int, re.findall(r'each of the (\d+) landmarks', texts['landmark_scale_px']))
    assert len(head.landmark_scale_px) == count


def test_the_flat_arrays_have_a_block_per_id_as_the_page_says():
    landmarks = messages.landmark_array(HEADER, HEADS)
    (long, short), = re.findall(r'n-th block of (\d+) \(px, m\) or (\d+) \(scale_px\) numbers',
                                section('msg/LandmarkArray'))
    assert landmarks.ids.tolist() == [7, 9]
    for values, block, expected in (
            (landmarks.px, int(long), HEADS[1].landmarks),
            (landmarks.m, int(long), HEADS[1].landmarks_m),
            (landmarks.scale_px, int(short), HEADS[1].landmark_scale)):
        assert len(values) == 2 * block
        np.testing.assert_allclose(values[block:], expected.ravel(), rtol=1e-6)


def test_each_row_of_the_mesh_tells_whose_it_is_as_the_page_says():
    text, = re.findall(r'^\| `head_mesh` \| .* \| (.*) \|$', PAGE, re.MULTILINE)
    assert text.endswith('one row of the cloud per head, in the order of `heads`')
    cloud = messages.mesh_cloud(HEADER, HEADS)
    fields = {field.name: field for field in cloud.fields}
    named = re.findall(r'`(\w+)`', text.rpartition('; ')[0])
    assert named == [*fields] == ['x', 'y', 'z', 'id']
    # Read as any consumer of clouds does: by name, offset and type.
    codes = {PointField.FLOAT32: '<f4', PointField.INT32: '<i4'}
    points = np.frombuffer(cloud.data, np.dtype({
        'names': named, 'offsets': [fields[name].offset for name in named],
        'formats': [codes[fields[name].datatype] for name in named],
        'itemsize': cloud.point_step})).reshape(cloud.height, cloud.width)
    assert cloud.row_step == cloud.width * cloud.point_step
    for row, head in zip(points, HEADS, strict=True):
        assert set(row['id']) == {head.track_id}
        np.testing.assert_allclose(np.stack([row[axis] for axis in 'xyz'], axis=1), head.vertices,
                                   rtol=1e-6)
