"""
Parameters of the node `head_tracker`.

With several cameras, `<camera>.<name>` overrides `<name>` for one camera, for the few parameters
that are about how its images come in; all others hold for all cameras.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rclpy.node import Node

from trans3dhead_ros.bags.image_topics import is_rectified
from trans3dhead_ros.inference.backends import BACKENDS, check_device
from trans3dhead_ros.media.image_decoding import MAX_PIXELS
from trans3dhead_ros.perception.assembly import HeadSize
from trans3dhead_ros.perception.pipeline import PipelineConfig
from trans3dhead_ros.perception.smoothing import Smoothing
from trans3dhead_ros.perception.tracker import Tracking
from trans3dhead_ros.ros.parameters import (
    ParameterSpec,
    config_parameter,
    declare_parameters,
    parameter,
    parameter_specs,
    read_parameters,
)

AUTO = 'auto'
_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
_FRAME_PREFIX = re.compile(r'[A-Za-z_][A-Za-z0-9_/]*')


def _check_cameras(value: Sequence[str]) -> str:
    names = [name for name in value if name]
    if len(set(names)) < len(names) or not all(map(_CAMERA_NAME.fullmatch, names)):
        return (f'{list(value)!r}: expected distinct names that start with a letter, followed by '
                'letters, digits and _')
    return ''


def _check_frame_prefix(value: str) -> str:
    if _FRAME_PREFIX.fullmatch(str(value)):
        return ''
    return f'{value!r} cannot start the name of a frame; use letters, digits, _ and /'


def _check_bits(value: int) -> str:
    return '' if value < 1 or value >= 8 else f'{value} is neither 0 nor 8 to 16'


def _check_device(value: str) -> str:
    try:
        check_device(value)
    except ValueError as error:
        return str(error).removeprefix('device: ')
    return ''


@dataclass(frozen=True)
class TrackerParameters:
    """Values of all parameters of `head_tracker` at one moment."""

    cameras: Sequence[str] = parameter([''], read_only=True, check=_check_cameras)
    """
    Names of the cameras, such as [front, rear]: each has its own topics <camera>/image_raw,
    <camera>/heads and so on. Empty: one camera whose topics have no prefix.
    """
    model: str = parameter('', read_only=True)
    """
    Either file of the model that is loaded on configuring (.onnx or .safetensors; the other one is
    found next to it), or open, the bundled model of that name. Empty: the model that this node used
    last if model_folder is set, otherwise the bundled default. The service ~/load_model loads
    another one at run time.
    """
    model_folder: str = parameter('', read_only=True)
    """
    Folder from which ~/load_model may load, by name or path; its index, models.json, records which
    models the node has used. Empty: the folder of the parameter model, without an index. Bundled
    models may always be loaded by name.
    """
    allow_any_model_path: bool = parameter(False, read_only=True)
    """Let ~/load_model load from any folder."""
    autostart: bool = parameter(False, read_only=True)
    """Configure and activate at start."""
    image_transport: str = parameter(
        'raw', choices=('raw', 'compressed'), read_only=True, inherit='')
    """
    raw subscribes to image_raw, compressed to the remapped name of image_raw followed by
    /compressed.
    """
    image_reliability: str = parameter(
        AUTO, choices=(AUTO, 'reliable', 'best_effort'), inherit='')
    """Reliability of the image subscription; auto: that of the publisher."""
    image_rectified: str | bool = parameter(AUTO, choices=(AUTO, True, False), inherit='')
    """
    Whether images are rectified and therefore described by P of camera_info, without distortion;
    auto: if the topic name contains rect.
    """
    max_image_pixels: int = parameter(MAX_PIXELS, bounds=(1, 2 ** 30))
    """Larger images are rejected, compressed ones before they are decoded; pixels."""
    significant_bits: int = parameter(0, bounds=(0, 16), check=_check_bits, inherit=-1)
    """
    Number of significant bits of 16-bit samples (mono16, rgb16, Bayer, PNG), which are the lower
    ones: 8 to 16. 0: as stated by the encoding (mono12), or the smallest of 8, 10, 12, 14 and 16
    that holds every sample so far. If it is set, 16UC1 is a grey image, not a depth image.
    """
    device: str = parameter(AUTO, check=_check_device)
    """Device of the networks: auto, cpu, cuda or cuda:N."""
    backend: str = parameter(AUTO, choices=(AUTO, *BACKENDS), read_only=True)
    """
    Inference engine; auto: one on the GPU if available, otherwise the first of onnxruntime,
    openvino, opencv and torch that is installed and can run the model.
    """
    threads: int = parameter(0, bounds=(0, 64), read_only=True)
    """CPU threads of each network; 0: two, or fewer if `OMP_NUM_THREADS` says so."""
    detector: str = parameter('', read_only=True)
    """
    Either file of the head detector that is loaded on configuring, a YuNet .onnx file, or open, the
    bundled detector of that name. Empty: the bundled default.
    """
    max_rate: float = parameter(0.0, bounds=(0.0, 1000.0), inherit=-1.0)
    """Maximum rate at which images are processed, Hz; 0: no limit."""
    new_track_threshold: float = config_parameter(
        Tracking, 'new_track_threshold', bounds=(0.0, 1.0))
    keep_track_threshold: float = config_parameter(
        Tracking, 'keep_track_threshold', bounds=(0.0, 1.0))
    max_missed_frames: int = config_parameter(Tracking, 'max_missed_frames', bounds=(0, 1000))
    search_interval: int = config_parameter(Tracking, 'search_interval', bounds=(1, 10000))
    max_unconfirmed_time: float = config_parameter(
        Tracking, 'max_unconfirmed_time', bounds=(0.0, 3600.0))
    head_scale: float = config_parameter(HeadSize, 'scale', bounds=(0.1, 10.0))
    head_size_uncertainty: float = config_parameter(HeadSize, 'uncertainty', bounds=(0.0, 1.0))
    smoothing: bool = config_parameter(Smoothing, 'enabled')
    smoothing_min_cutoff: float = config_parameter(Smoothing, 'min_cutoff', bounds=(0.01, 100.0))
    smoothing_beta: float = config_parameter(Smoothing, 'beta', bounds=(0.0, 100.0))
    smoothing_derivative_cutoff: float = config_parameter(
        Smoothing, 'derivative_cutoff', bounds=(0.01, 100.0))
    head_frame_prefix: str = parameter('tracked_head_', check=_check_frame_prefix)
    """TF frame of a head: this prefix and the id of the head."""
    rep155: bool = parameter(False, read_only=True)
    """
    Also publish faces according to REP-155, /humans/faces/..., with the TF frames face_<id> and
    gaze_<id> instead of that of the head; needs hri_msgs.
    """
    detections: bool = parameter(False, read_only=True)
    """
    Also publish the boxes of all heads as vision_msgs/Detection2DArray, for consumers of generic
    detections; needs vision_msgs.
    """
    publish_tf: bool = parameter(True)
    """Publish the pose of every head to TF."""
    publish_markers: bool = parameter(True)
    """Publish head_markers while there are subscribers."""
    publish_mesh: bool = parameter(True)
    """Publish head_mesh while there are subscribers."""
    publish_overlay: bool = parameter(True)
    """Publish overlay while there are subscribers."""
    no_image_warning: float = parameter(5.0, bounds=(0.0, 3600.0))
    """
    Time without an image after which the node warns, and renews its subscription if there is or was
    a publisher, seconds; 0: never.
    """
    watchdog_timeout: float = parameter(10.0, bounds=(0.0, 3600.0))
    """
    Time without an iteration of the executor after which the process exits with code 1, so that it
    can be restarted, seconds, at least 2; 0: never. Transitions may take longer.
    """
    restarts: int = parameter(0, bounds=(0, 2 ** 31 - 1), read_only=True)
    """How often the process was restarted, for the diagnostics; set by the launch file."""

    def pipeline_config(self) -> PipelineConfig:
        """Return the configuration of the pipeline."""
        return PipelineConfig(
            tracking=Tracking(self.new_track_threshold, self.keep_track_threshold,
                              self.max_missed_frames, self.search_interval,
                              self.max_unconfirmed_time),
            smoothing=Smoothing(
                self.smoothing, self.smoothing_min_cutoff, self.smoothing_beta,
                self.smoothing_derivative_cutoff),
            head_size=HeadSize(self.head_scale, self.head_size_uncertainty))

    def camera_names(self) -> tuple[str, ...]:
        """Return the names of the cameras; one empty name where they are not named."""
        return tuple(name for name in self.cameras if name) or ('',)

    def rectified(self, topic: str) -> bool:
        """Whether images of this topic are rectified."""
        if self.image_rectified == AUTO:
            return is_rectified(topic)
        return bool(self.image_rectified)


@functools.cache
def tracker_specs() -> dict[str, ParameterSpec]:
    """Return the declaration of every parameter by name, without overrides of cameras."""
    return parameter_specs(TrackerParameters)


def camera_specs(camera: str) -> list[ParameterSpec]:
    """Return the declarations of the overrides `<camera>.<name>` of one camera."""
    overrides = []
    for spec in tracker_specs().values():
        if spec.inherit is not None:
            low, high = spec.bounds or (0.0, 0.0)
            overrides.append(replace(
                spec, name=f'{camera}.{spec.name}', default=spec.inherit, inherit=None,
                description=f'{spec.name} of this camera; {spec.inherit!r}: as for all cameras.',
                choices=(spec.inherit, *spec.choices) if spec.choices else (),
                bounds=(min(low, spec.inherit), high) if spec.bounds else None))
    return overrides


def declare_tracker_parameters(node: Node) -> None:
    """
    Declare all parameters, overrides of the named cameras included.

    :param node: the node that gets them.
    :raises UserError: for a value that is not allowed; the message names the parameter.
    """
    declare_parameters(node, tracker_specs().values())
    for camera in filter(None, node.get_parameter('cameras').value):
        declare_parameters(node, camera_specs(camera))


def read_tracker_parameters(node: Node) -> TrackerParameters:
    """Return the present values; cheap enough for every frame."""
    return read_parameters(node, TrackerParameters)


def camera_parameters(
    node: Node, parameters: TrackerParameters, camera: str,
) -> TrackerParameters:
    """
    Apply the overrides of one camera.

    :param node: the node that declares them.
    :param parameters: the common values.
    :param camera: name of the camera; empty where there is only one.
    :return: the values for this camera.
    """
    if not camera:
        return parameters
    inherited = {spec.name: spec.inherit for spec in tracker_specs().values()
                 if spec.inherit is not None}
    values = {name: node.get_parameter(f'{camera}.{name}').value for name in inherited}
    return replace(parameters, **{
        name: value for name, value in values.items() if value != inherited[name]})
