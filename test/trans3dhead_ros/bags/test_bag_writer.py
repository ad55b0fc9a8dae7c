"""A writer replaces bags and nothing else; image topics are found by type and name."""

import numpy as np
import pytest
from bags import IMAGES, messages_of, raw_image, recorded_at, write_bag
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from trans3dhead_ros.bags.bag_reader import BagReader
from trans3dhead_ros.bags.bag_topic import Topic
from trans3dhead_ros.bags.bag_writer import BagWriter, check_replaceable
from trans3dhead_ros.bags.image_topics import (
    camera_info_topic_beside,
    choose_camera_info_topic,
    choose_image_topic,
    resolve_topic,
)
from trans3dhead_ros.bags.message_types import types_of

NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, '')


def topics_of(**types):
    return {f'/{name}': Topic(f'/{name}', f'sensor_msgs/msg/{kind}', NO_DEFINITION, 1)
            for name, kind in types.items()}


def test_the_remains_of_a_killed_writer_may_be_replaced(tmp_path):
    for name in ('bag_0.db3', 'bag_0.db3-journal', 'metadata.yaml', 'bag_1.mcap.zstd'):
        (tmp_path / name).touch()
    check_replaceable(tmp_path)
    (tmp_path / 'dear.txt').touch()
    with pytest.raises(ValueError, match=r'dear\.txt'):
        BagWriter(tmp_path)
    assert (tmp_path / 'dear.txt').exists()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_definitions_in_the_bag_are_enough_to_read_it(tmp_path, storage):

    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    bag = write_bag(tmp_path / 'bag', [image], storage)
    with BagReader(bag) as reader:
        topic = reader.topics[IMAGES]
        assert topic.definition.format == MessageDefinitionFormat.MSG
        data = next(reader.messages([IMAGES])).data
    message = types_of(topic).deserialize_cdr(data, topic.type)
    assert message.data.tolist() == list(range(36)) and message.header.frame_id


def test_an_undefined_type_is_named():
    with pytest.raises(ValueError, match='does not define its type a_msgs/msg/B'):
        types_of(Topic('/b', 'a_msgs/msg/B', NO_DEFINITION))


def test_an_existing_bag_is_replaced(tmp_path):

    image = np.zeros((2, 2, 3), np.uint8)
    write_bag(tmp_path / 'bag', [image] * 3)
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write(IMAGES, 'sensor_msgs/msg/Image', recorded_at(9), raw_image(0, image))
    assert [stamp for _, stamp, _ in messages_of(tmp_path / 'bag')] == [recorded_at(9)]


def test_topics_are_resolved_in_a_namespace():
    assert resolve_topic('', 'heads') == '/heads'
    assert resolve_topic('front', 'heads') == resolve_topic('/front/', 'heads') == '/front/heads'
    assert resolve_topic('front', '/tf') == '/tf'
    assert camera_info_topic_beside('/cam/image_raw/compressed') == '/cam/camera_info'
    assert camera_info_topic_beside('/image') == '/camera_info'


def test_the_only_colour_images_are_chosen():
    topics = topics_of(image='Image', depth='Imu') | {
        '/image/compressedDepth': Topic('/image/compressedDepth',
                                        'sensor_msgs/msg/CompressedImage', NO_DEFINITION, 1)}
    assert choose_image_topic(topics, None) == '/image'
    with pytest.raises(ValueError, match=r'name one of /left \(1 images\), /right'):
        choose_image_topic(topics_of(left='Image', right='CompressedImage'), None)
    with pytest.raises(ValueError, match='the bag has no images'):
        choose_image_topic(topics_of(imu='Imu'), None)
    with pytest.raises(ValueError, match='/imu has no images'):
        choose_image_topic(topics, '/imu')


def test_the_calibration_beside_the_images_is_chosen():
    topics = topics_of(image='Image', camera_info='CameraInfo', other='CameraInfo')
    assert choose_camera_info_topic(topics, '/image', None) == '/camera_info'
    assert choose_camera_info_topic(topics, '/image', '/other') == '/other'
    assert choose_camera_info_topic(topics, '/rear/image', None) is None
    with pytest.raises(ValueError, match='use /camera_info or /other'):
        choose_camera_info_topic(topics, '/image', '/image')
