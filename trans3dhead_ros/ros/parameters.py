"""
Parameters of the node: what may be set, within which bounds, and the checked result.

With several cameras, `<camera>.<name>` takes the place of `<name>` for one camera, for the few that
are about how its images come in; all others hold for all cameras.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.device import resolve_device
from trans3dhead_ros.perception.assembly import HeadSize
from trans3dhead_ros.perception.pipeline import PipelineConfig
from trans3dhead_ros.perception.smoothing import Smoothing
from trans3dhead_ros.perception.tracker import Tracking
from trans3dhead_ros.ros.image_decoding import MAX_PIXELS

AUTO = 'auto'
_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_FRAME_PREFIX = re.compile(r'[A-Za-z_][A-Za-z0-9_/]*')


@dataclass(frozen=True)
class Spec:
    """One parameter."""

    name: str
    default: Any
    description: str
    #: Inclusive bounds of a number.
    bounds: tuple[float, float] | None = None
    #: All values that are allowed.
    choices: tuple[Any, ...] = ()
    #: Fixed when the node starts.
    read_only: bool = False
    #: The value of `<camera>.<name>` that means "as all others"; None: the same for all cameras.
    inherits: Any = None

    def of_camera(self, camera: str) -> Spec:
        """Return the parameter that takes this one's place for one camera."""
        choices = (self.inherits, *self.choices) if self.choices else ()
        low, high = self.bounds or (0.0, 0.0)
        return replace(
            self, name=f'{camera}.{self.name}', default=self.inherits, inherits=None,
            description=f'{self.name} of this camera alone; {self.inherits!r}: as all others.',
            choices=choices, bounds=(min(low, self.inherits), high) if self.bounds else None)

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, read_only=self.read_only)
        if self.choices:
            descriptor.additional_constraints = 'one of: ' + ', '.join(
                str(choice).lower() or "''" for choice in self.choices)
            descriptor.dynamic_typing = len({type(choice) for choice in self.choices}) > 1
        if self.bounds:
            low, high = self.bounds
            if isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=low, to_value=high)]
        return descriptor


SPECS = (
    Spec('cameras', [''], 'Names of the cameras, such as [front, rear]: each has its own topics '
         '<camera>/image_raw, <camera>/heads and so on. Empty: one camera whose topics have no '
         'prefix.', read_only=True),
    Spec('model', '', 'Checkpoint (.safetensors) that configuring loads; empty: the one that comes '
         'with the package. Another one at run time: service ~/load_model.', read_only=True),
    Spec('model_folder', '', 'Folder from which ~/load_model may load; empty: the one of the '
         'parameter model. The checkpoint of the package may always be loaded.', read_only=True),
    Spec('allow_any_model_path', False, 'Let ~/load_model load from everywhere.', read_only=True),
    Spec('autostart', False, 'Configure and activate by itself at start.', read_only=True),
    Spec('image_transport', 'raw', 'raw subscribes to image_raw, compressed to its name, after '
         'remapping, with /compressed behind.', choices=('raw', 'compressed'), read_only=True,
         inherits=''),
    Spec('image_reliability', AUTO, 'Reliability of the image subscription; auto: that of the '
         'publisher.', choices=(AUTO, 'reliable', 'best_effort'), inherits=''),
    Spec('image_rectified', AUTO, 'Whether images are rectified, so that P and no distortion '
         'describes them; auto: when the topic name contains rect.', choices=(AUTO, True, False),
         inherits=''),
    Spec('max_image_pixels', MAX_PIXELS, 'Images of more pixels are refused, compressed ones '
         'before they are decoded.', bounds=(1, 2 ** 30)),
    Spec('device', AUTO, 'Where the network runs: auto, or a device of torch such as cuda:1.'),
    Spec('detector', 'cascade', 'What proposes new heads: cascade, or the path of a YuNet .onnx '
         'file; taken when a model is loaded.', read_only=True),
    Spec('max_rate', 0.0, 'Answer at most so many images a second, Hz; 0: all that time allows.',
         bounds=(0.0, 1000.0), inherits=-1.0),
    Spec('new_track_threshold', Tracking.new_track_threshold, 'Head probability that a new track needs.',
         bounds=(0.0, 1.0)),
    Spec('keep_track_threshold', Tracking.keep_track_threshold, 'Head probability below which a frame counts as missed '
         'by its track.', bounds=(0.0, 1.0)),
    Spec('max_missed_frames', Tracking.max_missed_frames, 'A track ends after this many missed frames in a '
         'row.', bounds=(0, 1000)),
    Spec('search_interval', Tracking.search_interval, 'Frames between searches for new heads while '
         'some are tracked.', bounds=(1, 10000)),
    Spec('head_scale', HeadSize.scale, 'Size of heads relative to an average adult: distances '
         'scale with it.', bounds=(0.1, 10.0)),
    Spec('head_size_uncertainty', HeadSize.uncertainty, 'Standard deviation of heads relative to '
         'that size; goes into the covariance.', bounds=(0.0, 1.0)),
    Spec('smoothing', True, 'Smooth pose and landmarks over time (One-Euro filter).'),
    Spec('smoothing_min_cutoff', Smoothing.min_cutoff, 'Cut-off of the filter for a head that does '
         'not move, Hz. Lower is calmer.', bounds=(0.01, 100.0)),
    Spec('smoothing_beta', Smoothing.beta, 'How fast the filter opens with speed. Higher follows '
         'faster.', bounds=(0.0, 100.0)),
    Spec('smoothing_derivative_cutoff', Smoothing.derivative_cutoff, 'Cut-off of the low-pass of '
         'the speed itself, Hz.', bounds=(0.01, 100.0)),
    Spec('head_frame_prefix', 'tracked_head_', 'TF frame of a head: this and its id.'),
    Spec('rep155', False, 'Also publish faces as REP-155 has them, /humans/faces/..., with the TF '
         'frames face_<id> and gaze_<id> in place of the one above; needs hri_msgs.',
         read_only=True),
    Spec('publish_tf', True, 'Send the pose of every head to TF.'),
    Spec('publish_markers', True, 'Publish head_markers while somebody subscribes.'),
    Spec('publish_mesh', True, 'Publish head_mesh while somebody subscribes.'),
    Spec('publish_overlay', True, 'Publish overlay while somebody subscribes.'),
    Spec('no_image_warning', 5.0, 'Warn when no image has come for so many seconds; 0: never.',
         bounds=(0.0, 3600.0)),
)
_BY_NAME = {spec.name: spec for spec in SPECS}


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; fields are described in `SPECS`."""

    cameras: Sequence[str]
    model: str
    model_folder: str
    allow_any_model_path: bool
    autostart: bool
    image_transport: str
    image_reliability: str
    image_rectified: str | bool
    max_image_pixels: int
    device: str
    detector: str
    max_rate: float
    new_track_threshold: float
    keep_track_threshold: float
    max_missed_frames: int
    search_interval: int
    head_scale: float
    head_size_uncertainty: float
    smoothing: bool
    smoothing_min_cutoff: float
    smoothing_beta: float
    smoothing_derivative_cutoff: float
    head_frame_prefix: str
    rep155: bool
    publish_tf: bool
    publish_markers: bool
    publish_mesh: bool
    publish_overlay: bool
    no_image_warning: float

    def pipeline(self) -> PipelineConfig:
        """Return what concerns the pipeline."""
        return PipelineConfig(
            tracking=Tracking(self.new_track_threshold, self.keep_track_threshold, self.max_missed_frames,
                              self.search_interval),
            smoothing=Smoothing(
                self.smoothing, self.smoothing_min_cutoff, self.smoothing_beta,
                self.smoothing_derivative_cutoff),
            head_size=HeadSize(self.head_scale, self.head_size_uncertainty))

    def camera_names(self) -> tuple[str, ...]:
        """Return the names of the cameras; one empty name where they are not named."""
        return tuple(name for name in self.cameras if name) or ('',)

    def rectified(self, topic: str) -> bool:
        """Whether the images of this topic are taken as rectified."""
        if self.image_rectified == AUTO:
            return 'rect' in topic
        return bool(self.image_rectified)


def declare_parameters(node: Node) -> None:
    """
    Declare all parameters; values from the command line or a file are checked.

    :raises ValueError: for a value that is not allowed; the message names the parameter.
    """
    # Registered first, so that the checks hold for the initial values as well.
    node.add_on_set_parameters_callback(check_parameters)
    for spec in SPECS:
        _declare(node, spec)
    for camera in read_settings(node).camera_names():
        for spec in _of_each_camera() if camera else ():
            _declare(node, spec.of_camera(camera))


def _declare(node: Node, spec: Spec) -> None:
    try:
        node.declare_parameter(spec.name, spec.default, spec.descriptor())
    except Exception as error:
        # rclpy has one class for a wrong value and another for a wrong type.
        if type(error).__name__.startswith('InvalidParameter'):
            raise UserError(f'parameter {spec.name}: {error}') from None
        raise


def check_parameters(parameters: Sequence[Parameter]) -> SetParametersResult:
    """Say whether values are allowed. Changes nothing: another callback may still refuse."""
    for parameter in parameters:
        spec = _spec(parameter.name)
        reason = _objection(spec, parameter.value) if spec else ''
        if reason:
            reason = f'{parameter.name}: {reason.removeprefix(parameter.name + ": ")}'
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def read_settings(node: Node) -> Settings:
    """Return the present values; cheap enough for every frame."""
    return Settings(**{spec.name: node.get_parameter(spec.name).value for spec in SPECS})


def settings_of_camera(node: Node, settings: Settings, camera: str) -> Settings:
    """Return the values for one camera: its own in the place of those of all."""
    if not camera:
        return settings
    own = {spec.name: node.get_parameter(f'{camera}.{spec.name}').value
           for spec in _of_each_camera()}
    return replace(settings, **{
        name: value for name, value in own.items() if value != _BY_NAME[name].inherits})


def _of_each_camera() -> list[Spec]:
    return [spec for spec in SPECS if spec.inherits is not None]


def _spec(name: str) -> Spec | None:
    """Return what is known about a parameter, which may be that of one camera."""
    camera, _, shared = name.rpartition('.')
    spec = _BY_NAME.get(shared)
    if not camera or spec is None:
        return spec
    return None if spec.inherits is None else spec.of_camera(camera)


def _objection(spec: Spec, value: Any) -> str:
    """Return why a value is not allowed, empty where it is."""
    if spec.choices and not any(value == choice and type(value) is type(choice)
                                for choice in spec.choices):
        return f'{value!r} is not {spec.descriptor().additional_constraints}'
    if isinstance(value, float) and not math.isfinite(value):
        return f'{value} is not a finite number'
    if spec.name == 'head_frame_prefix' and not _FRAME_PREFIX.fullmatch(str(value)):
        return f'{value!r} is no start of a frame name; use letters, digits, _ and /'
    if spec.name == 'cameras':
        names = [name for name in value if name]
        wrong = [name for name in names if not _CAMERA_NAME.fullmatch(name)]
        if wrong or len(set(names)) < len(names):
            return (f'{list(value)!r}: use names of their own that begin with a letter and go on '
                    'with letters, digits and _')
    if spec.name == 'device':
        try:
            resolve_device(value)
        except ValueError as error:
            return str(error)
    return ''
