"""A wrong option of `track BAG` is one line and exit code 2."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from trans3dhead_ros.cli.main import main

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(('arguments', 'message'), [
    (['{bag}'], 'name the bag to write'),
    (['{bag}', '--output', '{tmp}/a.mp4'], 'does not have the suffix of a bag'),
    (['{bag}', '--output', '{bag}', '--force'], 'is the source itself'),
    (['{bag}', '--output', '{bag}/inside.mcap'], 'contains the source or lies in it'),
    (['{bag}', '--output', '{bag}/..', '--force'], 'contains the source or lies in it'),
    (['{bag}', '--output', '{tmp}', '--force'], 'something other than a bag'),
    (['{bag}', '--output', '{tmp}/a', '--topic', '/nowhere'], '/nowhere has no images'),
    (['{bag}', '--output', '{tmp}/a', '--camera-info', '/nowhere'], 'use /cam/camera_info'),
    (['{bag}', '--output', '{tmp}/a', '--namespace', 'a b'], 'namespace'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'dance:=1'], 'NAME:=VALUE'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'head_scale:=50'], 'head_scale cannot be 50'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'device:=cpu'], 'given by --device'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'max_rate:=5'], 'no effect on a bag'),
    (['{bag}', '--output', '{tmp}/a', '-p', 'smoothing:=maybe'], 'smoothing cannot be maybe'),
    (['{tmp}/none.mcap', '--output', '{tmp}/a'], 'does not exist'),
    (['{tmp}/text.mcap', '--output', '{tmp}/a'], 'is not an MCAP file'),
    (['{tmp}/text.db3', '--output', '{tmp}/a'], 'cannot be read as a bag'),
    (['{tmp}/old.bag', '--output', '{tmp}/a'], 'rosbags-convert'),
    (['{tmp}/picture.png', '--topic', '/a'], 'topic: applies to bags only'),
])
def test_a_mistake_is_one_line_and_code_two(short_bag, tmp_path, capsys, arguments, message):
    for name in ('text.mcap', 'text.db3', 'old.bag', 'picture.png'):
        (tmp_path / name).write_text('this is no bag, however long it may become')
    assert main(['track', *(a.format(bag=short_bag, tmp=tmp_path) for a in arguments)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count('\n') == 1 and not printed.out
    assert not (tmp_path / 'a').exists()
