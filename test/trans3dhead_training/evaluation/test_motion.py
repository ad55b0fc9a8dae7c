"""Lag is that of the smoothing, and nothing but a change of the answers counts as motion."""

from dataclasses import replace

import numpy as np
import pytest

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.smoothing import Smoothing
from trans3dhead_training.evaluation.face_errors import decode_label_euler
from trans3dhead_training.evaluation.motion import (
    FRAME_RATE,
    PITCH,
    TURN_SPEED_DEG,
    YAW,
    clips,
    error_range,
    exact_lag_ms,
    eye_effects,
    turn_lag,
)
from trans3dhead_training.gate.frozen_sets import EYES, NODS, TURNS, read_frozen


@pytest.fixture(scope='module')
def aligner() -> HeadAligner:
    return HeadAligner.load(device='cpu')


def one_clip(name: str) -> list:
    return next(clips(read_frozen(name)))


@pytest.mark.parametrize(('name', 'moving', 'constant'), [(TURNS, YAW, PITCH), (NODS, PITCH, YAW)])
def test_one_angle_of_a_sweep_moves_at_a_constant_rate(name, moving, constant):
    for frames in clips(read_frozen(name)):
        euler_deg = decode_label_euler(np.stack([frame.rotation for frame in frames]))
        steps = np.diff(euler_deg[:, moving])
        # The labels are as seen in a crop, and the rays to a head that nods change with it.
        assert steps.mean() == pytest.approx(TURN_SPEED_DEG / FRAME_RATE, rel=0.08)
        assert steps.std() < 0.2 and np.ptp(euler_deg[:, constant]) < 3.0


def test_nothing_but_the_eyes_moves_in_their_clips():
    for frames in clips(read_frozen(EYES)):
        assert len(frames) == 6
        rotations = np.stack([frame.rotation for frame in frames])
        # Closing lids move landmarks, and with them the box that the labels refer to, by a little.
        assert np.abs(rotations - rotations[0]).max() < 0.005
        assert len({frame.picture for frame in frames}) == 6


def test_equal_pictures_have_no_effect(aligner):
    frames = one_clip(EYES)
    blink, gaze = eye_effects(aligner, [
        replace(frame, picture=frames[0].picture) for frame in frames])
    assert blink.max() < 1e-4 and gaze.max() < 1e-4 and gaze.shape == (1, 4)
    blink, gaze = eye_effects(aligner, frames)
    assert 0.01 < blink[0] < 10 and (gaze > 0.01).all()


def test_a_constant_error_is_no_range(aligner):
    frames = one_clip(NODS)
    found = aligner.align_images([(frame.image(), frame.box[None]) for frame in frames])
    answered = [replace(frame, rotation=part.rotation[0])
                for frame, part in zip(frames, found, strict=True)]
    assert error_range(aligner, answered, YAW) == pytest.approx([0.0], abs=1e-9)
    assert error_range(aligner, frames, YAW)[0] > 0.5


def test_the_lag_is_that_of_the_smoothing(aligner):
    frames = one_clip(TURNS)
    raw, = turn_lag(aligner, frames, Smoothing(enabled=False))
    default, = turn_lag(aligner, frames)
    slow, = turn_lag(aligner, frames, Smoothing(beta=0.2))
    assert abs(raw) < 5.0 and slow > 2 * default
    assert default == pytest.approx(exact_lag_ms(), abs=5.0)


def test_without_a_clip_only_our_networks_are_measured(capsys):
    assert cli.main(['evaluate', '--clip', '--predictor', 'mediapipe']) == 2
    assert 'clip: only our networks are measured on the rendered clips' in capsys.readouterr().err
