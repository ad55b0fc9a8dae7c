"""The page about the node's interface, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, ParameterType

from tools.interface_files import InterfaceFile
from tools.node_interface import CAMERA, Endpoint, ParameterFacts, TrackerInterface

TOPICS = {
    'image_raw': 'images of the camera, with `image_transport: raw`',
    'image_raw/compressed': 'compressed images, with `image_transport: compressed`. Remap '
                            '`image_raw`; `/compressed` is appended',
    'camera_info': 'calibration, by default in the namespace of the images; the latest one is '
                   'used. Without it, depth assumes a default field of view and `metric` is false',
    '/clock': 'with `use_sim_time: true`',
    'heads': 'all heads of one image, published even if there are none',
    'head_pose': 'pose of the principal head: the largest, with hysteresis',
    'head_landmarks': 'landmarks of all heads',
    'head_markers': 'mesh, landmarks, axes and id of every head, for RViz',
    'head_mesh': 'vertices of all meshes: the fields `x`, `y` and `z` in m in the frame of the '
                 'image, and `id`, that of the head; one row of the cloud per head, in the order '
                 'of `heads`',
    'head_mesh/triangles': 'vertex indices of the triangles, three each; published once per '
                           'model',
    'overlay': 'the image with the heads drawn into it, bgr8',
    '/tf': 'image frame → `<head_frame_prefix><id>`; published before the topics of the image',
    '/diagnostics': 'once per second, even while the node is inactive',
}
SERVICES = {
    '~/load_model': 'loads and warms up another model and swaps it in between two images; '
                    'on any error the running one stays in use, and a model that failed its '
                    '[gate](update.md#the-gate) is refused unless forced',
    '~/rollback': 'returns to the previous model, see [roll-out](update.md#roll-out)',
    '~/enable': 'with false, images are ignored until it is called with true',
    '~/reset': 'drops all tracks; heads get new ids',
}
DIAGNOSTICS = {
    'input rate (Hz)': 'rate of received images over the last five seconds',
    'images received': 'since the start',
    'images processed': 'images whose results were published',
    'images replaced by newer ones': 'dropped for a newer image while the network was busy',
    'images above max_rate': 'dropped because of `max_rate`',
    'images that failed': 'not processed because of a defect in this package; see the log',
    'bad images': 'could not be decoded; see the log',
    'bad camera_info': 'invalid; see the log',
    'implausible stamps': 'images whose stamp is zero, not later than that of the previous image, '
                          'or in the future; they are processed',
    'frame age (ms)': 'age of the last processed image when its heads were published, according to '
                      'the clock of the node',
    'heads': 'number of heads in the last processed image',
    'inference p50 (ms)': 'processing time of an image, median of the last 300',
    'inference p95 (ms)': 'the same, 95th percentile',
    'image topic': 'its resolved name',
    'camera_info topic': 'the remapped name of `camera_info`, or the topic in the namespace of the '
                         'images',
    'publishers': 'number of publishers of the right type on the image topic',
    'publisher QoS': 'their reliability',
    'subscription QoS': 'reliability of the node; `none yet` until a publisher appears (`auto`)',
    'resubscriptions': 'how often the node has renewed its subscription, because no image was '
                       'received for `no_image_warning` seconds',
    'device': 'device of the network',
    'backend': 'inference engine of the network',
    'model': 'name and version of the model',
    'parent model': 'the model from which it was trained: name and hash, or `none` if unknown',
    'previous model': 'the model to which `~/rollback` would return, or `none`',
    'peak memory (MB)': 'peak resident memory of the process',
    'memory (MB)': 'resident memory of the process',
    'device memory (MB)': 'reserved memory on a GPU; absent on the CPU',
    'unused GPU': 'what to install so that the network can use an NVIDIA GPU; absent if there is '
                  'nothing to do',
    'restarts': 'how often the launch file has restarted the process, see `respawn`',
    'calibration': 'the distortion model in use, `rectified`, or what is wrong with camera_info',
}
# Both written by hand: the messages that the node needs for them are not always installed.
_REP155 = (
    '### REP-155', '',
    'With `rep155: true`, which needs hri_msgs, faces are also published according to REP-155. '
    '`<id>` is five letters, which differ between processes; all cameras share the list.', '',
    '| topic | type | QoS | what |', '|---|---|---|---|',
    '| `/humans/faces/tracked` | hri_msgs/IdsList | reliable, depth 1, latched | the '
    'current faces, with every image |',
    '| `/humans/faces/<id>/roi` | hri_msgs/NormalizedRegionOfInterest2D | reliable, depth 1 | the '
    'box, 0 to 1 over the image |',
    '| `/humans/faces/<id>/cropped` | sensor_msgs/Image | reliable, depth 1 | crop of the face, '
    'bgr8 |',
    '| `/humans/faces/<id>/landmarks` | hri_msgs/FacialLandmarks | reliable, depth 1 | 70 points, '
    '0 to 1 over the image |',
    '| `/tf` | tf2_msgs/TFMessage | reliable, depth 100 | image frame → `face_<id>` → `gaze_<id>`, '
    'instead of `<head_frame_prefix><id>` |', '')
_DETECTIONS = (
    '### Detections', '',
    'With `detections: true`, which needs vision_msgs, heads are also published in the common '
    'format of detectors: each with its box, the id as text, and one hypothesis of the class '
    '`head` with the score and the pose with its covariance.', '',
    '| topic | type | QoS | what |', '|---|---|---|---|',
    '| `detections` | vision_msgs/Detection2DArray | reliable, depth 10 | all heads of one image, '
    'published even if there are none |', '')
_UNKNOWN = '**not described yet**'
_TYPES = {
    ParameterType.PARAMETER_BOOL: 'bool', ParameterType.PARAMETER_INTEGER: 'integer',
    ParameterType.PARAMETER_DOUBLE: 'double', ParameterType.PARAMETER_STRING: 'string',
    ParameterType.PARAMETER_STRING_ARRAY: 'string array',
    ParameterType.PARAMETER_DOUBLE_ARRAY: 'double array',
    ParameterType.PARAMETER_INTEGER_ARRAY: 'integer array',
}


def api_page(tracker: TrackerInterface, files: Sequence[InterfaceFile]) -> str:
    """
    Write the page.

    :param tracker: the interface of the node.
    :param files: the messages and services of this package, in the order of the page.
    :return: Markdown.
    """
    own = tracker.own
    known = {end.name for end in (*own.subscribes, *own.publishes)}
    more = [end for end in tracker.compressed.subscribes if end.name not in known]
    lines = [
        '# Interface of the node `head_tracker`', '',
        'Written by `python -m tools.api_docs` from the running node and from `msg/` and '
        '`srv/`; do not edit it. A test compares it with the node.', '',
        '* [Subscribed topics](#subscribed-topics) · '
        '[published topics](#published-topics) · [services](#services) · '
        '[parameters](#parameters) · [diagnostics](#diagnostics)',
        '* Messages: ' + ' · '.join(f'[{file.name}](#{_anchor(file.name)})' for file in files),
        '* See also: [frames, axes and angles](frames.md) · '
        '[troubleshooting](troubleshooting.md) · [security](security.md)', '',
        'Names without a leading slash are relative to the namespace of the node, and `~` is the '
        'node itself, `/head_tracker` by default. Every output carries the stamp and the frame of '
        'its image. Units are SI; quaternions are x, y, z, w.', '',
        '## Subscribed topics', '',
        *_table(('topic', 'type', 'QoS', 'what'),
                [_topic(end) for end in (*own.subscribes, *more)]), '',
        'If only `image_raw` is remapped, for example to `/camera/image_raw`, the calibration is '
        'taken from the topic in the same namespace, `/camera/camera_info`.', '',
        'The subscription to images adopts the reliability of their publisher '
        '(`image_reliability`), because a reliable subscription receives nothing from a '
        'best-effort publisher.', '',
        '## Published topics', '',
        'Messages are built and published only while there are subscribers.', '',
        *_table(('topic', 'type', 'QoS', 'what'), [_topic(end) for end in own.publishes]), '',
        'Latched means transient local: late subscribers get the last message.', '',
        '## Services', '',
        *_table(('service', 'type', 'what'),
                [(f'`{end.name}`', _type(end.type), SERVICES.get(end.name, _UNKNOWN))
                 for end in own.serves]), '',
        'In addition, the node has the services of every lifecycle node (`~/change_state`, '
        '`~/get_state`, …) and of every node with parameters (`~/set_parameters`, …).', '',
        '## Parameters', '',
        '*live* parameters can be changed while the node runs and apply from the next image on; '
        'the others are read at the start.', '',
        *_table(('parameter', 'type', 'default', 'allowed', 'set', 'what'),
                [_parameter(name, facts) for name, facts in own.parameters.items()]), '',
        'A parameter that is not in this table is ignored, and named in a warning at the start.',
        '',
        '### QoS', '',
        'Each published topic has the read-only parameters `qos_overrides.<topic>.publisher.` '
        'followed by `reliability`, `durability`, `history` or `depth`. `<topic>` is the full name '
        'of the topic. In a file:', '',
        '```yaml', '/**:', '  ros__parameters:', '    qos_overrides:', '      /heads:',
        '        publisher: {reliability: best_effort, depth: 1}', '```', '',
        '### Several cameras', '',
        f'With `cameras: [{CAMERA}, …]` the topics of each camera are prefixed with its name '
        f'(`{CAMERA}/image_raw`, `{CAMERA}/heads`, …), and these parameters override those above '
        'for one camera:', '',
        *_table(('parameter', 'type', 'default', 'allowed', 'set', 'what'),
                [_parameter(name, facts) for name, facts in tracker.camera.parameters.items()]),
        '',
        *(_REP155 if 'rep155' in own.parameters else ()),
        *(_DETECTIONS if 'detections' in own.parameters else ()),
        '## Diagnostics', '',
        'One status per camera on `/diagnostics`, named `<node>: tracking`, or `<node>: <camera>` '
        'with several. Its message is `inactive`, `tracking` or `disabled`, or, with level WARN or '
        'ERROR, what is wrong. Its values:', '',
        *_table(('value', 'what'),
                [(f'`{name}`', DIAGNOSTICS.get(name, _UNKNOWN)) for name in tracker.diagnostics]),
    ]
    for file in files:
        lines += ['', f'## {file.name}', '', *(f'{_escaped(text)}\n' for text in file.about)]
        lines[-1] = lines[-1].rstrip('\n')
        titles = ('',) if len(file.parts) == 1 else ('request', 'response')
        for title, part in zip(titles, file.parts, strict=True):
            rows = [(f'`{field.name}`', field.type, field.comment) for field in part]
            lines += ['', *_table((title or 'field', 'type', 'what'), rows)]
    return '\n'.join(lines) + '\n'


def undescribed(tracker: TrackerInterface) -> list[str]:
    """Return the names of the node that the tables of this module do not describe."""
    ends = {end.name for end in (*tracker.own.subscribes, *tracker.own.publishes,
                                 *tracker.compressed.without(tracker.whole).subscribes)}
    return sorted({name for name, table in (
        *((name, TOPICS) for name in ends),
        *((end.name, SERVICES) for end in tracker.own.serves),
        *((name, DIAGNOSTICS) for name in tracker.diagnostics)) if name not in table})


def _topic(end: Endpoint) -> tuple[str, str, str, str]:
    return f'`{end.name}`', _type(end.type), end.qos, TOPICS.get(end.name, _UNKNOWN)


def _type(name: str) -> str:
    package, kind, message = name.split('/')
    if package == 'trans3dhead':
        return f'[trans3dhead/{message}](#{_anchor(f"{kind}/{message}")})'
    return f'{package}/{message}'


def _parameter(name: str, facts: ParameterFacts) -> tuple[str, ...]:
    descriptor = facts.descriptor
    kind = 'any of them' if descriptor.dynamic_typing else _TYPES[descriptor.type]
    return (f'`{name}`', kind, f'`{_value(facts.default)}`', _allowed(descriptor),
            'at start' if descriptor.read_only else 'live', descriptor.description)


def _allowed(descriptor: ParameterDescriptor) -> str:
    for limits in (*descriptor.integer_range, *descriptor.floating_point_range):
        return f'{limits.from_value:g} … {limits.to_value:g}' \
            if isinstance(limits.from_value, float) \
            else f'{limits.from_value} … {limits.to_value}'
    return descriptor.additional_constraints.removeprefix('one of: ')


def _value(value: Any) -> str:
    """Return a value in YAML syntax."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, Iterable):
        return '[' + ', '.join(map(_value, value)) + ']'
    return str(value)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(titles), '|---' * len(titles) + '|', *(_row(map(_escaped, row)) for row in rows)]


def _row(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'


def _escaped(text: str) -> str:
    """Return the text of a cell; outside of code, `<name>` would be taken for HTML."""
    pieces = text.replace('|', '\\|').split('`')
    return '`'.join(piece if number % 2 else piece.replace('<', '&lt;')
                    for number, piece in enumerate(pieces))


def _anchor(heading: str) -> str:
    return ''.join(c for c in heading.lower().replace(' ', '-') if c.isalnum() or c in '-_')
