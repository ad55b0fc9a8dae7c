"""Message definitions, to serialize and deserialize without ROS."""

from __future__ import annotations

import re
from pathlib import Path

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from trans3dhead_ros.bags.bag_topic import Topic
from trans3dhead_ros.errors import UserError


def common_types() -> Typestore:
    """Return the standard messages and, where the ROS package is installed, its own."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    try:
        from ament_index_python.packages import get_package_share_directory
        folder = Path(get_package_share_directory('trans3dhead')) / 'msg'
    except (ModuleNotFoundError, LookupError):
        return types
    for file in sorted(folder.glob('*.msg')):
        types.register(get_types_from_msg(file.read_text(), f'trans3dhead/msg/{file.stem}'))
    return types


def types_of(topic: Topic) -> Typestore:
    """
    Return a type store that knows the type of a topic.

    The definition in the bag is used where there is one, else that of `common_types`.

    :param topic: a topic of a bag.
    :return: the type and the types of its fields.
    :raises UserError: if neither defines it.
    """
    if topic.definition.format == MessageDefinitionFormat.MSG:
        found = get_types_from_msg(topic.definition.data, topic.type)
    elif topic.definition.format == MessageDefinitionFormat.IDL:
        found = {}
        for part in re.split(r'^=+\nIDL: .*\n', topic.definition.data, flags=re.MULTILINE):
            found.update(get_types_from_idl(part) if part.strip() else {})
    else:
        types = common_types()
        if topic.type not in types.types:
            raise UserError(f'{topic.name}: the bag does not define its type {topic.type}')
        return types
    types = get_typestore(Stores.EMPTY)
    types.register(found)
    return types
