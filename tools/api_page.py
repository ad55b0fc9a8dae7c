"""The interface of the node as a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, ParameterType

from tools.interface_files import InterfaceFile
from tools.node_interface import CAMERA, Endpoint, ParameterFacts, TrackerInterface

#: What the graph cannot say, by the name that it gives.
TOPICS = {
    'image_raw': 'images of the camera; with `image_transport: raw`',
    'image_raw/compressed': 'the same compressed; with `image_transport: compressed`. `image_raw` '
                            'is what one remaps; `/compressed` is put behind',
    'camera_info': 'calibration; the latest one counts. Without it depth is a guess and `metric` '
                   'is false',
    '/clock': 'with `use_sim_time: true`',
    'heads': 'the whole answer to one image, also when no head is in it',
    'head_pose': 'the principal head: the largest, and it stays while it is tracked',
    'head_landmarks': 'only the landmarks of all heads',
    'head_markers': 'mesh, landmarks, axes and id of every head, for RViz',
    'head_mesh': 'the vertices of all meshes, m in the frame of the image; field `id` is the '
                 'track number',
    'head_mesh/triangles': 'three indices a triangle into the vertices of one head; sent once '
                           'a model',
    'overlay': 'the image with the heads drawn into it, bgr8',
    '/tf': 'image frame → `<head_frame_prefix><id>`; sent before the topics of the same image',
    '/diagnostics': 'once a second, also while the node is inactive',
}
SERVICES = {
    '~/load_model': 'loads and warms a checkpoint beside the running one and swaps them between '
                    'two images; on any error the running one stays',
    '~/enable': 'false: images are ignored until it is true again',
    '~/reset': 'forgets all heads and begins anew with new numbers',
}
DIAGNOSTICS = {
    'input rate (Hz)': 'images that came, over the last five seconds',
    'images received': 'since the start',
    'images answered': 'for these something was published',
    'images replaced by newer ones': 'the network was busy, and only the newest image waits',
    'images above max_rate': 'left out because of that parameter',
    'images that failed': 'for a defect of this package; the log has it',
    'bad images': 'could not be decoded; the log says why',
    'bad camera_info': 'contradict themselves; the log says why',
    'frame age (ms)': "from the stamp of the last answered image to its answer, by the node's "
                      'clock',
    'heads': 'in the last answered image',
    'inference p50 (ms)': 'from taking an image to its heads, median of the last 300',
    'inference p95 (ms)': 'the same, 95th percentile',
    'image topic': 'its resolved name',
    'publishers': 'of images of the right type on that topic',
    'publisher QoS': 'their reliability',
    'subscription QoS': "the node's own; `none yet` until a publisher appears (`auto`)",
    'device': 'where the network runs',
    'model': 'name and version of the checkpoint',
    'peak memory (MB)': 'the most that the process has had resident',
    'memory (MB)': 'resident',
    'device memory (MB)': 'reserved on a GPU; absent elsewhere',
    'calibration': 'the distortion model in use, `rectified`, or what is wrong with camera_info',
}
# Made by hand: hri_msgs, which it needs, is not everywhere where this page is written.
_REP155 = (
    '### REP-155', '',
    'With `rep155: true`, and hri_msgs installed, faces have the topics and frames of REP-155 as '
    'well. `<id>` are five letters, other ones in each process; all cameras share the list.', '',
    '| topic | type | QoS | what |', '|---|---|---|---|',
    '| `/humans/faces/tracked` | hri_msgs/IdsList | reliable, depth 1, latched | the faces at '
    'present, with every image |',
    '| `/humans/faces/<id>/roi` | hri_msgs/NormalizedRegionOfInterest2D | reliable, depth 1 | the '
    'box, 0 to 1 over the image |',
    '| `/humans/faces/<id>/cropped` | sensor_msgs/Image | reliable, depth 1 | the face cut out, '
    'bgr8 |',
    '| `/humans/faces/<id>/landmarks` | hri_msgs/FacialLandmarks | reliable, depth 1 | 70 points, '
    '0 to 1 over the image |',
    '| `/tf` | tf2_msgs/TFMessage | reliable, depth 100 | image frame → `face_<id>` → `gaze_<id>`, '
    'in place of `<head_frame_prefix><id>` |', '')
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
    Return the page as Markdown.

    :param files: the messages and services of this package, in the order of the page.
    """
    own = tracker.own
    known = {end.name for end in (*own.subscribes, *own.publishes)}
    more = [end for end in tracker.compressed.subscribes if end.name not in known]
    lines = [
        '# Interface of the node `head_tracker`', '',
        'Written by `python -m tools.api_docs` from the running node and from `msg/` and '
        '`srv/`; the tests compare. What stands here is changed there.', '',
        '* [Topics that it hears](#topics-that-it-hears) · '
        '[publishes](#topics-that-it-publishes) · [services](#services) · '
        '[parameters](#parameters) · [diagnostics](#diagnostics)',
        '* Messages: ' + ' · '.join(f'[{file.name}](#{_anchor(file.name)})' for file in files),
        '* Beside this page: [frames, axes and angles](frames.md) · '
        '[troubleshooting](troubleshooting.md) · [security](security.md)', '',
        'Names without a slash in front are relative to the namespace of the node, and `~` is the '
        'node itself: `/head_tracker` where nothing else is said. Every output carries the stamp '
        'and the frame of its image. Units are SI; quaternions are x, y, z, w.', '',
        '## Topics that it hears', '',
        *_table(('topic', 'type', 'QoS', 'what'),
                [_topic(end) for end in (*own.subscribes, *more)]), '',
        'The subscription to images follows the reliability of their publisher '
        '(`image_reliability`), because a reliable subscription hears nothing of a best-effort '
        'publisher.', '',
        '## Topics that it publishes', '',
        'Nothing is built or sent that nobody subscribes to.', '',
        *_table(('topic', 'type', 'QoS', 'what'), [_topic(end) for end in own.publishes]), '',
        'Latched means transient local: who subscribes later gets the last message.', '',
        '## Services', '',
        *_table(('service', 'type', 'what'),
                [(f'`{end.name}`', _type(end.type), SERVICES.get(end.name, _UNKNOWN))
                 for end in own.serves]), '',
        'And those of every lifecycle node (`~/change_state`, `~/get_state`, …) and of every node '
        'with parameters (`~/set_parameters`, …).', '',
        '## Parameters', '',
        '*live* ones may be changed while the node runs, from the next image on; the others are '
        'taken at the start.', '',
        *_table(('parameter', 'type', 'default', 'allowed', 'set', 'what'),
                [_parameter(name, facts) for name, facts in own.parameters.items()]), '',
        '### Several cameras', '',
        f'With `cameras: [{CAMERA}, …]` the topics of each camera have its name in front '
        f'(`{CAMERA}/image_raw`, `{CAMERA}/heads`, …), and these parameters, beside those above, '
        'are for it alone:', '',
        *_table(('parameter', 'type', 'default', 'allowed', 'set', 'what'),
                [_parameter(name, facts) for name, facts in tracker.camera.parameters.items()]),
        '',
        *(_REP155 if 'rep155' in own.parameters else ()),
        '## Diagnostics', '',
        'One status a camera on `/diagnostics`, named `<node>: tracking`, or `<node>: <camera>` '
        'with several. Its message is `inactive`, `tracking` or `disabled`, or with level WARN '
        'what is wrong. Its values:', '',
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
    """Return what the node has and the tables of this module do not know."""
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
    """Return a value as YAML has it."""
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
    """Return the text of a cell: outside of code `<name>` would be taken for HTML."""
    pieces = text.replace('|', '\\|').split('`')
    return '`'.join(piece if number % 2 else piece.replace('<', '&lt;')
                    for number, piece in enumerate(pieces))


def _anchor(heading: str) -> str:
    return ''.join(c for c in heading.lower().replace(' ', '-') if c.isalnum() or c in '-_')
