"""What rendered pictures show: distributions of poses, cameras, light, occluders, degradations."""

from __future__ import annotations

from dataclasses import dataclass, field

from trans3dhead_training.synthesis.occluders.occluder_placement import OccluderDistribution
from trans3dhead_training.synthesis.scenes.camera_effects import CameraEffects
from trans3dhead_training.synthesis.scenes.camera_sampling import CameraDistribution
from trans3dhead_training.synthesis.scenes.light_sampling import LightDistribution
from trans3dhead_training.synthesis.scenes.pose_sampling import (
    FixedPose,
    PoseDistribution,
    UniformPoses,
)

UPRIGHT = PoseDistribution(
    behind_share=0.2, nod_deg=18.0, wide_nod_share=0.08, tilt_sigma_deg=6.0,
    elevation_sigma_deg=6.0, in_plane_sigma_deg=3.0, wide_in_plane_share=0.02)


@dataclass(frozen=True)
class SceneConfig:
    """What is rendered; the defaults are the preset `standard`."""

    poses: PoseDistribution | UniformPoses | FixedPose = field(default_factory=PoseDistribution)
    """Rotations of heads in crops."""
    standing_poses: PoseDistribution | UniformPoses = field(default_factory=lambda: UPRIGHT)
    """Rotations of heads in scenes, where people hardly lie or lean."""
    tilt_bodies: bool = False
    """Tilt bodies in the image plane with their heads, so that a head at any roll has a neck."""
    cameras: CameraDistribution = field(default_factory=CameraDistribution)
    """Cameras of crops, and the field of view in scenes."""
    lights: LightDistribution = field(default_factory=LightDistribution)
    """Light."""
    occluders: OccluderDistribution = field(default_factory=OccluderDistribution)
    """Glasses, hats, masks and other occluders."""
    effects: CameraEffects = field(default_factory=CameraEffects)
    """Image degradations."""
    crop_size: int = 256
    """Side of crops, px."""
    scene_head_share: tuple[float, float] = (0.06, 0.5)
    """Range of the height of heads in scenes, in frame heights, log-uniform."""
    crowd_head_share: float = 0.3
    """Largest height of heads in scenes with four or more, in frame heights."""
    scene_x: tuple[float, float] = (0.03, 0.97)
    """Range of the horizontal position of heads in scenes, in frame widths."""
    scene_y: tuple[float, float] = (0.08, 0.8)
    """Range of the vertical position of heads in scenes, in frame heights."""


SCENE_PRESETS = {
    'standard': SceneConfig(),
    'wide': SceneConfig(
        poses=UniformPoses(), tilt_bodies=True, crop_size=288,
        standing_poses=UniformPoses(behind_share=0.3, pitch_deg=40.0, tilt_deg=30.0,
                                    upright_share=0.6, any_tilt_share=0.1),
        scene_head_share=(0.014, 0.85), crowd_head_share=0.45,
        scene_x=(-0.02, 1.02), scene_y=(-0.02, 1.02),
        cameras=CameraDistribution(crop_scale=(2.3, 2.7)),
        lights=LightDistribution(shares=(0.41, 0.22, 0.13, 0.10, 0.14),
                                 low_exposure=(0.05, 0.45)))}
"""
Configurations by name.

`standard` is uniform in yaw. `wide` is uniform in pitch and roll too, as dark as a twentieth of the
usual exposure, has crops with a margin for crops that are off the head, and heads of 8 to 400 px in
frames of 480 rows.
"""
