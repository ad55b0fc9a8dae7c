"""Headers that drivers fill in wrongly are named, and used as far as they can be."""

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from trans3dhead_ros.ros import image_headers
from trans3dhead_ros.ros.image_headers import HeaderCheck, strip_leading_slash
from trans3dhead_ros.ros.throttled_logger import ThrottledLogger

pytestmark = pytest.mark.ros
KINDS = (image_headers.ZERO, image_headers.EQUAL, image_headers.BACKWARD, image_headers.FUTURE)


class Lines(list):
    """A logger that keeps what is logged."""

    warning = list.append


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def check(lines):
    return HeaderCheck(ThrottledLogger(lines), Clock(clock_type=ClockType.SYSTEM_TIME))


def header(seconds: float, frame: str = 'camera') -> Header:
    return Header(frame_id=frame, stamp=Time(sec=int(seconds), nanosec=round(seconds % 1 * 1e9)))


@pytest.mark.parametrize(('given', 'used'), [
    ('/camera', 'camera'), ('//robot/camera', 'robot/camera'), ('/', ''), ('camera/', 'camera/')])
def test_a_slash_at_the_start_of_the_frame_is_removed(given, used):
    one = header(1.0, given)
    assert bool(strip_leading_slash(one)) == (given != used)
    assert one.frame_id == used


def test_the_slash_is_logged_once_and_reported_as_long_as_it_persists(check, lines):
    for index in range(3):
        check.check(header(1.0 + index, '/camera'))
        assert check.problems() == [
            "frame_id: '/camera' begins with a slash, which tf2 refuses; 'camera' is used"]
    assert len(lines) == 1
    check.check(header(5.0))
    assert not check.problems() and check.implausible == 0


@pytest.mark.parametrize(('stamps', 'kind'), [
    ([0.0, 0.0], image_headers.ZERO), ([7.0, 7.0, 7.0], image_headers.EQUAL),
    ([9.0, 7.5, 6.0], image_headers.BACKWARD)])
def test_a_stamp_that_cannot_be_right_is_named_and_counted(check, lines, stamps, kind):
    for stamp in stamps:
        check.check(header(stamp))
    assert check.problems() == [f'{check.implausible} images have {kind}']
    assert check.implausible == 2 and len(lines) == 1 and kind in lines[0]
    assert not check.problems()
    check.check(header(10.0))
    assert not check.problems()


def test_a_stamp_from_the_future_is_reported_with_its_offset(check, lines):
    now = Clock(clock_type=ClockType.SYSTEM_TIME).now().nanoseconds / 1e9
    check.check(header(now + 0.05))
    assert not check.problems()
    check.check(header(now + 3600.0))
    assert check.problems() == [f'1 image has {image_headers.FUTURE}']
    assert 'by 3599.' in lines[0] or 'by 3600.' in lines[0]


def test_before_simulated_time_begins_no_stamp_is_from_the_future(ros, lines):
    node = Node('simulated', parameter_overrides=[Parameter('use_sim_time', value=True)])
    try:
        simulated = HeaderCheck(ThrottledLogger(lines), node.get_clock())
        simulated.check(header(50.0))
        assert not simulated.problems() and not lines
    finally:
        node.destroy_node()


def test_the_first_stamp_after_a_restart_has_no_predecessor(check):
    check.check(header(9.0))
    check.restart()
    check.check(header(3.0))
    assert not check.problems()
