"""
A rotation written in a set's own convention comes back as ours.

One head of known pose is written as BIWI and as DAD-3DHeads would have it. Both sets' frames are
built from what their makers say of the axes, never with the readers' matrices, and the answer is
checked where pixels are: a point of the head must land on the same pixel either way.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from dad_files import (
    CENTRE_RGB,
    HEAD,
    TRUE_EULER,
    K,
    dad_head,
    perspective,
    write_dad,
)
from scipy.spatial.transform import Rotation

from trans3dhead_ros.geometry import (
    euler_from_rotation,
    geodesic_distance_deg,
    rotation_from_euler,
    viewing_ray_rotation,
)
from trans3dhead_training.formats.readers import read_samples


def project(points: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Pixels (P, 2) of points of a head frame seen by the camera K; `p_camera = R p + centre`."""
    camera = points @ rotation.T + centre
    return (camera @ K.T)[:, :2] / camera[:, 2:]


def apparent(rotation_camera: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return viewing_ray_rotation(centre).T @ rotation_camera


def write_biwi(root: Path, rotation: np.ndarray, centre_mm: np.ndarray, sequence: str = '01',
               extrinsic: np.ndarray | None = None) -> Path:
    """Write one frame; rotation and centre in the depth camera's frame and the set's head frame."""
    folder = root / sequence
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / 'frame_00003_rgb.png'), np.full((480, 640, 3), 90, np.uint8))
    (folder / 'frame_00003_depth.bin').write_bytes(b'')

    def rows(matrix: np.ndarray) -> str:
        return '\n'.join(' '.join(f'{value:.9g}' for value in row) + ' ' for row in matrix)

    (folder / 'frame_00003_pose.txt').write_text(f'{rows(rotation)}\n\n{rows([centre_mm])}\n')
    extrinsic = np.eye(4) if extrinsic is None else extrinsic
    (folder / 'rgb.cal').write_text(
        f'{rows(K)}\n\n0 0 0 0 \n\n{rows(extrinsic[:3, :3])}\n\n{rows([extrinsic[:3, 3]])}\n\n'
        '640 480\n')
    return folder


def biwi_frame(points: np.ndarray) -> np.ndarray:
    """Our head frame → BIWI's: x to the person's left, y down, z into the head."""
    out, left, up = points.T
    return np.stack([left, -up, -out], axis=-1)


def test_a_head_facing_the_camera_has_the_identity_rotation_in_biwi(tmp_path):
    write_biwi(tmp_path, np.eye(3), np.array([0.0, 0, 900]))
    (sample,) = read_samples(f'biwi:{tmp_path}')
    np.testing.assert_allclose(euler_from_rotation(sample.rotation), 0, atol=1e-9)
    assert sample.points is None and sample.group == 'biwi/01' and sample.is_validation


def test_a_biwi_rotation_comes_back_as_ours_through_both_cameras(tmp_path):
    # The rotation that takes the set's own coordinates to the depth camera, from where points go.
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = Rotation.from_euler('xyz', [0.9, -0.5, 0.3], degrees=True).as_matrix()
    extrinsic[:3, 3] = [-24.0, 5.9, -13.2]
    true_camera = rotation_from_euler(TRUE_EULER)
    own = biwi_frame(HEAD)
    in_depth = (HEAD @ true_camera.T) @ extrinsic[:3, :3]
    rotation = np.linalg.lstsq(own, in_depth, rcond=None)[0].T
    centre_mm = extrinsic[:3, :3].T @ (1000 * CENTRE_RGB - extrinsic[:3, 3])
    write_biwi(tmp_path, rotation, centre_mm, extrinsic=extrinsic)
    (sample,) = read_samples(f'biwi:{tmp_path}')
    assert geodesic_distance_deg(sample.rotation, apparent(true_camera, CENTRE_RGB)) < 1e-4
    # Points of the head land where the set's own chain puts them.
    chain = (own @ rotation.T + centre_mm / 1000) @ extrinsic[:3, :3].T + extrinsic[:3, 3] / 1000
    there = (chain @ K.T)[:, :2] / chain[:, 2:]
    back = viewing_ray_rotation(CENTRE_RGB) @ sample.rotation
    np.testing.assert_allclose(project(HEAD, back, CENTRE_RGB), there, atol=1e-3)
    middle = (sample.box[:2] + sample.box[2:]) / 2
    np.testing.assert_allclose(middle, project(np.zeros((1, 3)), back, CENTRE_RGB)[0], atol=1e-3)
    np.testing.assert_allclose(sample.box[2:] - sample.box[:2], 0.15 * K[0, 0] / 0.95, rtol=1e-6)


def test_biwi_angles_on_the_axis_are_those_that_others_evaluate(tmp_path):
    matrix = Rotation.from_euler('yxz', [20, -10, 5], degrees=True).as_matrix()
    write_biwi(tmp_path, matrix, np.array([0.0, 0, 900]))
    (sample,) = read_samples(f'biwi:{tmp_path}')
    m = np.rad2deg
    expected = [m(np.arcsin(matrix[0, 2])), m(np.arctan2(matrix[1, 2], matrix[2, 2])),
                m(-np.arctan2(matrix[0, 1], matrix[0, 0]))]
    np.testing.assert_allclose(euler_from_rotation(sample.rotation), expected, atol=1e-6)
    # Positive yaw: the nose points to the image's left, and +20° about y (down) does that here.
    nose = project(HEAD[:1], sample.rotation, np.array([0, 0, 0.9]))[0]
    assert sample.rotation[0] @ [1, 0, 0] < 0 and nose[0] < 320


def test_a_person_who_came_twice_to_biwi_is_one_group(tmp_path):
    for sequence in ('07', '22', '08'):
        write_biwi(tmp_path, np.eye(3), np.array([0.0, 0, 900]), sequence)
    assert [s.group for s in read_samples(f'biwi:{tmp_path}')] == [
        'biwi/07', 'biwi/08', 'biwi/07']


def test_damaged_biwi_files_are_named(tmp_path):
    with pytest.raises(ValueError, match='has no sequences 01, 02'):
        read_samples(f'biwi:{tmp_path}')
    folder = write_biwi(tmp_path, 2 * np.eye(3), np.array([0.0, 0, 900]))
    with pytest.raises(ValueError, match=r'pose\.txt holds a matrix that is not a rotation'):
        read_samples(f'biwi:{tmp_path}')
    (folder / 'frame_00003_pose.txt').write_text('1 0 0\n0 1 0\n')
    with pytest.raises(ValueError, match=r'pose\.txt holds 6 numbers, not the 12'):
        read_samples(f'biwi:{tmp_path}')
    (folder / 'frame_00003_rgb.png').unlink()
    with pytest.raises(ValueError, match=r'pose\.txt has no picture frame_00003_rgb\.png'):
        read_samples(f'biwi:{tmp_path}')
    (folder / 'rgb.cal').unlink()
    with pytest.raises(ValueError, match=r'rgb\.cal cannot be read'):
        read_samples(f'biwi:{tmp_path}')


@pytest.mark.parametrize('scale', [1.0, 40.0])
def test_a_dad_3dheads_rotation_comes_back_as_ours(tmp_path, scale):
    write_dad(tmp_path, perspective(480), scale)
    (sample,) = read_samples(f'dad:{tmp_path}')
    true = rotation_from_euler(TRUE_EULER)
    # The vertices land where our pose puts the same points.
    there = project(dad_head(), true, CENTRE_RGB)
    np.testing.assert_allclose(sample.vertices[:, :2], there, atol=2e-3)
    # A crop around the box shows the head along the ray through the middle of the box.
    ray = np.linalg.inv(K) @ [*(sample.box[:2] + sample.box[2:]) / 2, 1]
    assert geodesic_distance_deg(sample.rotation, apparent(true, ray)) < 1e-4
    assert geodesic_distance_deg(sample.rotation, true) > 5
    assert sample.points is None and sample.is_validation


def test_a_dad_3dheads_rotation_without_perspective_is_in_the_camera_frame(tmp_path):
    write_dad(tmp_path, np.array([[500.0, 0, 0, 320], [0, 500, 0, 240], [0, 0, -1, 0],
                                  [0, 0, 0, 1]]))
    (sample,) = read_samples(f'dad:{tmp_path}')
    assert geodesic_distance_deg(sample.rotation, rotation_from_euler(TRUE_EULER)) < 1e-4


def test_the_dad_3dheads_box_is_around_the_face_and_depth_is_smaller_nearer(tmp_path):
    write_dad(tmp_path, perspective(480))
    (sample,) = read_samples(f'dad:{tmp_path}')
    nose, _, ear, crown = sample.vertices[-4:]
    x0, y0, x1, y1 = sample.box
    assert x0 <= nose[0] <= x1 and y0 <= nose[1] <= y1 and crown[1] < y0
    assert nose[2] == 0 and ear[2] > 0 and crown[2] > 0
    # A tenth of a metre is about 54 px at this distance.
    assert 30 < ear[2] < 90
    width, height = sample.box[2:] - sample.box[:2]
    whole = np.ptp(sample.vertices[:, :2], axis=0)
    assert 40 < width <= whole[0] and 40 < height < whole[1]


def test_damaged_dad_3dheads_files_are_named(tmp_path):
    folder = write_dad(tmp_path, perspective(480))
    label = folder / 'annotations' / 'a1.json'
    whole = label.read_text()
    label.write_text(whole[:5000])
    with pytest.raises(ValueError, match=r'a1\.json is missing or not complete JSON'):
        read_samples(f'dad:{tmp_path}')
    content = json.loads(whole)
    label.write_text(json.dumps(content | {'vertices': content['vertices'][:9]}))
    with pytest.raises(ValueError, match=r'a1\.json has vertices of shape \(9, 3\)'):
        read_samples(f'dad:{tmp_path}')
    del content['projection_matrix']
    label.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'a1\.json has no readable projection_matrix'):
        read_samples(f'dad:{tmp_path}')
    (folder / 'images' / 'a1.png').unlink()
    with pytest.raises(ValueError, match=r'a1\.json has no picture'):
        read_samples(f'dad:{tmp_path}')
    (folder / 'val.json').write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r'val\.json is not a list of entries with item_id'):
        read_samples(f'dad:{tmp_path}')
    (folder / 'val.json').unlink()
    with pytest.raises(ValueError, match='has neither train/train.json nor val/val.json'):
        read_samples(f'dad:{tmp_path}')
