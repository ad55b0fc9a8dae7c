"""REP-155: topics and frames of faces, received over DDS with the real messages of hri_msgs."""

import random
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSProfile
from ros_graph import HEADS, LATCHED, SMALL_OUTPUTS, Client, TrackerProcess
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler, rotation_from_quaternion
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.media.image_decoding import decode_image
from trans3dhead_ros.ros.hri.face_messages import check_fields, load_hri_messages
from trans3dhead_ros.ros.hri.face_registry import FaceIds
from trans3dhead_ros.ros.hri.gaze import AHEAD

SIZE = (640, 360)
CAMERA = Camera.from_fov(SIZE, 60.0)
PLACES = {'left': np.array([-0.14, 0.0, 0.55]), 'right': np.array([0.13, 0.01, 0.55])}
HUMANS = '/humans/faces/'
TRACKED = f'{HUMANS}tracked'
# As those of ROS4HRI subscribe: nothing latched.
PLAIN = QoSProfile(depth=20)
pytestmark = pytest.mark.ros


def messages():
    """Return hri_msgs.msg, or skip the test."""
    return pytest.importorskip('hri_msgs.msg', reason='hri_msgs is not installed')


# -- without a graph ------------------------------------------------------------------------------


def test_identifiers_are_five_letters_one_for_each_track():
    ids = FaceIds(random.Random(4))
    names = [ids(track) for track in range(20000)]
    assert len(set(names)) == len(names)
    assert all(len(name) == 5 and name.isascii() and name.isalpha() and name.islower()
               for name in names)
    assert ids(7) == names[7]


def test_two_trackers_choose_other_identifiers():
    first, second = FaceIds(), FaceIds()
    assert [first(track) for track in range(50)] != [second(track) for track in range(50)]


def test_missing_messages_are_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'hri_msgs.msg', None)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    with pytest.raises(ValueError, match='parameter rep155: hri_msgs .*ros-jazzy-hri-msgs'):
        load_hri_messages()


def test_other_messages_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match=r'IdsList\.header is missing.*version 2'):
        check_fields(SimpleNamespace(IdsList=Header))
    with pytest.raises(ValueError, match='hri_msgs has no IdsList'):
        check_fields(SimpleNamespace())


def test_without_the_messages_the_node_says_so_and_exits(tmp_path):
    try:
        import hri_msgs  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip('hri_msgs is installed')
    process = TrackerProcess(
        tmp_path / 'log.txt', '-p', 'rep155:=true', '-p', 'autostart:=true')
    assert process.popen.wait(120) == 2
    assert 'parameter rep155: hri_msgs cannot be imported' in process.text()
    assert 'Traceback' not in process.text()


def test_our_order_of_landmarks_is_the_one_of_the_message():
    """Names that differ in LEFT and RIGHT alone are mirror images, and some points are named."""
    kind = messages().FacialLandmarks
    names = [name for name in dir(kind) if name.startswith('RIGHT_') and name != 'RIGHT_PUPIL']
    assert len(names) > 15
    for name in names:
        right, left = getattr(kind, name), getattr(kind, name.replace('RIGHT', 'LEFT', 1))
        assert MIRROR_68[right] == left, name
    assert (kind.MENTON, kind.SELLION, kind.NOSE) == (8, 27, 30)
    assert (kind.RIGHT_PUPIL, kind.LEFT_PUPIL) == (68, 69)


# -- with a graph ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def picture(render):
    """Return a function that draws heads at some of the `PLACES`, all with the same rotation."""
    rotation = rotation_from_euler(np.array([14.0, -4.0, 5.0]))
    return lambda *places: render(CAMERA, *((rotation, PLACES[place]) for place in places))


@pytest.fixture(scope='module')
def tracker(tmp_path_factory):
    messages()
    process = TrackerProcess(
        tmp_path_factory.mktemp('faces') / 'log.txt', '-p', 'autostart:=true',
        '-p', 'rep155:=true', '-p', 'cameras:=[front, rear]', '-p', 'max_missed_frames:=2',
        '-p', 'search_interval:=1')
    yield process
    assert process.stop() == 0, process.text()
    assert 'Traceback' not in process.text()


@pytest.fixture
def front(ros, tracker):
    client = ready_client('front')
    yield client
    client.close()


@pytest.fixture
def rear(ros, tracker):
    client = ready_client('rear')
    yield client
    client.close()


def ready_client(camera: str) -> Client:
    client = Client(camera=camera, frame=f'{camera}_optical_frame', outputs=SMALL_OUTPUTS)
    client.listen(TRACKED, messages().IdsList, PLAIN)
    client.wait_for_tracker()
    assert client.spin_until(lambda: client.count_publishers(TRACKED) == 1)
    client.call(Trigger, 'head_tracker/reset', Trigger.Request())
    return client


def ask_until(client: Client, image: np.ndarray, faces: int) -> tuple[Header, list[str]]:
    """Send a picture again and again until the list has so many faces; return header and list."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        answer = client.ask(image)
        ids = list(client.of(TRACKED, answer.header).ids)
        if len(ids) == faces:
            return answer.header, ids
    raise AssertionError(f'{ids} instead of {faces} faces')


def topics(client: Client) -> set[str]:
    return {name for name, _ in client.get_topic_names_and_types()
            if name.startswith(HUMANS) and name != TRACKED}


def of_face(name: str) -> set[str]:
    return {f'{HUMANS}{name}/{topic}' for topic in ('roi', 'cropped', 'landmarks')}


def place_of(transform) -> np.ndarray:
    at = transform.transform.translation
    return np.array([at.x, at.y, at.z])


def rotation_of(transform) -> np.ndarray:
    q = transform.transform.rotation
    return rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w]))


def test_topics_come_and_go_with_the_faces(front, picture):
    _, two = ask_until(front, picture('left', 'right'), 2)
    wanted = set.union(*map(of_face, two))
    assert front.spin_until(lambda: topics(front) == wanted), topics(front)
    _, one = ask_until(front, picture('left'), 1)
    assert set(one) < set(two), 'the face that stays keeps its identifier'
    assert front.spin_until(lambda: topics(front) == of_face(one[0])), topics(front)
    _, again = ask_until(front, picture('left', 'right'), 2)
    assert set(again) & set(two) == set(one), 'a face that comes back is another one'
    ask_until(front, picture(), 0)
    assert front.spin_until(lambda: not topics(front)), topics(front)


def test_a_briefly_missed_face_is_still_tracked(front, picture):
    _, two = ask_until(front, picture('left', 'right'), 2)
    answer = front.ask(picture('left'))
    assert len(answer.heads) == 1
    assert set(front.of(TRACKED, answer.header).ids) == set(two)
    assert set(ask_until(front, picture('left', 'right'), 2)[1]) == set(two)


def test_face_and_gaze_frames_are_those_of_the_rep(front, picture):
    header, (face,) = ask_until(front, picture('right'), 1)
    head = front.answer(header).heads[0]
    face_tf, gaze_tf = front.of('/tf', header).transforms
    assert (face_tf.header.frame_id, face_tf.child_frame_id) == (
        'front_optical_frame', f'face_{face}')
    assert (gaze_tf.header.frame_id, gaze_tf.child_frame_id) == (f'face_{face}', f'gaze_{face}')
    assert gaze_tf.header.stamp == header.stamp
    at = head.pose.pose.position
    np.testing.assert_allclose(place_of(face_tf), [at.x, at.y, at.z])
    assert not place_of(gaze_tf).any(), 'the gaze starts where the face is'
    # The head looks at the camera: x out of the face is against the optical axis, z is up.
    rotation = rotation_of(face_tf)
    assert rotation[2, 0] < -0.9 and rotation[1, 2] < -0.9
    # z of the gaze goes along it, x to the person's right, y down.
    np.testing.assert_allclose(rotation_of(gaze_tf), AHEAD, atol=0.1)
    assert not any(transform.child_frame_id.startswith('tracked_head_')
                   for message in front.received['/tf'] for transform in message.transforms)


def test_a_face_has_region_landmarks_and_picture_of_its_image(front, picture):
    image = picture('left')
    _, (face,) = ask_until(front, image, 1)
    hri = messages()
    kinds = {'roi': hri.NormalizedRegionOfInterest2D, 'landmarks': hri.FacialLandmarks,
             'cropped': Image}
    names = {topic: f'{HUMANS}{face}/{topic}' for topic in kinds}
    for topic, kind in kinds.items():
        front.listen(names[topic], kind, PLAIN)

    def heard() -> bool:
        front.ask(image)
        return all(front.received[name] for name in names.values())
    deadline = time.monotonic() + 60.0
    while not heard():
        assert time.monotonic() < deadline, 'the topics of the face stay silent'
    answer = front.ask(image)
    head = answer.heads[0]
    roi, landmarks, cropped = (front.of(names[topic], answer.header) for topic in kinds)
    assert {message.header.frame_id for message in (roi, landmarks, cropped)} == {
        'front_optical_frame'}

    box = np.array([roi.xmin, roi.ymin, roi.xmax, roi.ymax]) * np.tile(SIZE, 2) - 0.5
    np.testing.assert_allclose(box, head.box, atol=1e-3)
    assert roi.c == pytest.approx(head.score)

    assert (landmarks.width, landmarks.height) == SIZE
    points = np.array([(point.x, point.y, point.c) for point in landmarks.landmarks])
    pixels = points[:, :2] * SIZE - 0.5
    np.testing.assert_allclose(
        pixels[:68], np.array(head.landmarks_px).reshape(68, 3)[:, :2], atol=1e-3)
    for pupil, rim in ((68, pixels[36:42]), (69, pixels[42:48])):
        assert (rim.min(0) <= pixels[pupil]).all() and (pixels[pupil] <= rim.max(0)).all()
    assert (points[:, 2] > 0.1).all() and (points[:, 2] <= 1.0).all()

    crop = decode_image(cropped)
    assert crop.shape == (128, 128, 3)
    x0, y0, x1, y1 = np.rint(box + 0.5).astype(int)
    np.testing.assert_allclose(
        crop[crop.any(2)].mean(0), image[y0:y1, x0:x1].mean((0, 1)), atol=3.0)


def test_cameras_share_one_list(front, rear, picture):
    _, first = ask_until(front, picture('left'), 1)
    _, both = ask_until(rear, picture('left', 'right'), 3)
    assert set(first) < set(both)
    _, rest = ask_until(front, picture(), 2)
    assert set(rest) == set(both) - set(first)
    ask_until(rear, picture(), 0)


def test_a_late_subscriber_to_latched_messages_gets_the_list(front, picture):
    _, ids = ask_until(front, picture('left'), 1)
    late = Client(camera='late', outputs=HEADS)
    try:
        late.listen(TRACKED, messages().IdsList, LATCHED)
        assert late.spin_until(lambda: late.received[TRACKED])
        assert list(late.received[TRACKED][-1].ids) == ids
    finally:
        late.close()


def test_a_disabled_or_inactive_node_publishes_no_faces(front, picture):
    def nobody_left() -> bool:
        lists = front.received[TRACKED]
        return bool(lists) and not lists[-1].ids and not topics(front)

    ask_until(front, picture('left'), 1)
    front.call(SetBool, 'head_tracker/enable', SetBool.Request(data=False))
    assert front.spin_until(nobody_left)
    front.call(SetBool, 'head_tracker/enable', SetBool.Request(data=True))

    ask_until(front, picture('left'), 1)
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                       Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert front.change_state(transition)
        if transition == Transition.TRANSITION_DEACTIVATE:
            assert front.spin_until(nobody_left)
        elif transition == Transition.TRANSITION_CLEANUP:
            assert front.spin_until(lambda: front.count_publishers(TRACKED) == 0)
    front.wait_for_tracker()
    ask_until(front, picture('left'), 1)


def test_faces_that_come_and_go_leave_nothing_behind(front, picture):
    """Publishers are made and destroyed beside the executor, again and again."""
    seen = set()
    for _ in range(5):
        seen.update(ask_until(front, picture('left', 'right'), 2)[1])
        front.call(Trigger, 'head_tracker/reset', Trigger.Request())
    assert len(seen) == 10
    ask_until(front, picture(), 0)
    assert front.spin_until(lambda: not topics(front)), topics(front)
