"""The messages of a run survive however it ends, and a later run appends to them."""

import pytest

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.ros.bag_tracking.partial_bag import PartialBag

TOPICS = {'/tf': 'tf2_msgs/msg/TFMessage', '/image': 'sensor_msgs/msg/Image'}
OPTIONS = {'fov': 60.0, 'source': [['drive.mcap', 7]]}


def opened(path, restart=False, **changes):
    return PartialBag(path, OPTIONS | changes, TOPICS, restart)


def write(partial, images):
    """Write two messages per image; the one with the index 1 cannot be decoded."""
    for image in images:
        if image != 1:
            for topic in TOPICS:
                partial.append(topic, 100 + image, f'{topic} {image}'.encode())
        partial.commit({'images': image + 1})


def messages_of_images(*images):
    return [(topic, 100 + image, image, f'{topic} {image}'.encode())
            for image in images for topic in TOPICS]


def test_a_later_run_appends_to_what_is_complete(tmp_path):
    path = tmp_path / 'out.partial' / 'tracked.mcap'
    with opened(path) as partial:
        assert partial.progress is None
        write(partial, range(3))
        # This image is not finished.
        partial.append('/tf', 103, b'lost')
    with opened(path) as partial:
        assert partial.progress == {'images': 3}
        write(partial, range(3, 5))
        assert list(partial.messages()) == messages_of_images(0, 2, 3, 4)


@pytest.mark.parametrize('missing', [1, 20, 90, 150])
def test_an_image_that_was_cut_off_is_written_again(tmp_path, missing):
    path = tmp_path / 'tracked.mcap'
    sizes = []
    with opened(path) as partial:
        for image in range(3):
            write(partial, [image])
            sizes.append(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-missing])
    whole = sum(size <= sizes[-1] - missing for size in sizes)
    assert whole == 2 or missing == 150
    with opened(path) as partial:
        assert partial.progress == {'images': whole}
        write(partial, range(whole, 3))
        assert list(partial.messages()) == messages_of_images(0, 2)


def test_it_is_a_bag_that_others_can_read(tmp_path):
    path = tmp_path / 'out.partial' / 'tracked.mcap'
    partial = opened(path)
    write(partial, range(3))
    expected = [(topic, stamp, data) for topic, stamp, _, data in messages_of_images(0, 2)]
    # While the run goes on, and without its end.
    for source in (path, path.parent):
        with BagReader(source) as reader:
            assert {name: topic.type for name, topic in reader.topics.items()} == TOPICS
            assert [tuple(message) for message in reader.messages(TOPICS)] == expected
    partial.close()


def test_a_run_with_other_options_does_not_resume(tmp_path):
    path = tmp_path / 'tracked.mcap'
    with opened(path) as partial:
        write(partial, range(2))
    before = path.read_bytes()
    with pytest.raises(ValueError, match='a run with another fov and source'):
        opened(path, fov=30.0, source=[])
    assert path.read_bytes() == before
    with opened(path, restart=True, fov=30.0) as partial:
        assert partial.progress is None and not list(partial.messages())


def test_two_runs_do_not_write_at_once(tmp_path):
    path = tmp_path / 'tracked.mcap'
    with opened(path) as partial:
        write(partial, range(2))
        with pytest.raises(ValueError, match='another run is writing'):
            opened(path)
        assert list(partial.messages()) == messages_of_images(0)


def test_a_file_of_another_program_is_not_touched(tmp_path):
    path = tmp_path / 'tracked.mcap'
    path.write_bytes(b'dear to somebody')
    for restart in (False, True):
        with pytest.raises(ValueError, match='was not left by a run of this command'):
            opened(path, restart)
    assert path.read_bytes() == b'dear to somebody'
