"""An evaluation reads the layouts people have and reports what the answers deserve."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.training.evaluate import main
from trans3dhead_ros.training.evaluation_report import format_report, report
from trans3dhead_ros.training.evaluation_sets import Sample, read_samples
from trans3dhead_ros.training.evaluation_views import Answer, headless_views, turn_picture
from trans3dhead_ros.training.predictors import Alignment

FACES = Path(os.environ.get('TRANS3DHEAD_DATA', '../shared/data')) / 'faces'
BASELINES = FACES.parent.parent / 'baselines'
POINTS = np.random.default_rng(5).uniform([30, 20], [130, 120], (68, 2))


def write_aflw(folder: Path, name: str, euler_rad: tuple[float, float, float]) -> None:
    """Write a picture and labels as AFLW2000-3D has them; pitch, yaw, roll in radians."""
    cv2.imwrite(str(folder / f'{name}.jpg'), np.full((160, 160, 3), 99, np.uint8))
    savemat(folder / f'{name}.mat', {
        'pt3d_68': np.vstack([POINTS.T, np.zeros(68)]),
        'Pose_Para': np.array([[*euler_rad, 80.0, 80.0, 0.0, 1e-3]])})


def answer(euler_deg: tuple, predicted_deg: tuple, shift: float, source: str = 'set') -> Answer:
    sample = Sample(Path('face.jpg'), source, POINTS, True, np.array(euler_deg, float))
    return Answer(sample, Alignment(POINTS + np.array([shift, 0.0]), POINTS,
                                    rotation_from_euler(np.array(predicted_deg, float))))


def test_the_aflw_layout_is_read_with_its_order_of_angles(tmp_path):
    write_aflw(tmp_path, 'image00002', (0.1, -0.5, 0.2))
    (sample,) = read_samples(f'aflw:{tmp_path}')
    np.testing.assert_allclose(sample.points, POINTS)
    np.testing.assert_allclose(sample.euler_deg, np.rad2deg([-0.5, 0.1, 0.2]))
    assert sample.points_are_3d


def test_an_aflw_label_without_its_picture_is_named(tmp_path):
    write_aflw(tmp_path, 'a', (0, 0, 0))
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(ValueError, match=r'a\.mat has no picture a\.jpg'):
        read_samples(f'aflw:{tmp_path}')


def test_a_mat_file_of_something_else_is_named(tmp_path):
    write_aflw(tmp_path, 'a', (0, 0, 0))
    (tmp_path / 'a.mat').write_text('not a mat file at all, only text')
    with pytest.raises(ValueError, match=r'a\.mat has no readable pt3d_68'):
        read_samples(f'aflw:{tmp_path}')


@pytest.mark.parametrize(('data', 'message'), [
    ('faces', 'not FORMAT:PATH'), ('wflw:faces', 'one of crops, aflw'),
    ('aflw:nowhere', 'no folder nowhere'), ('crops:nowhere', r'no labels\.csv'),
])
def test_an_unknown_set_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        read_samples(data)


def test_a_set_without_faces_in_its_split_is_named(tmp_path):
    with pytest.raises(ValueError, match='has no labelled face'):
        read_samples(f'aflw:{tmp_path}')


def test_the_report_has_the_error_of_points_and_pose():
    box = landmark_box(POINTS)
    size = float(np.sqrt(np.prod(box[2:] - box[:2])))
    rows = report([answer((10, 0, 0), (12, -3, 4), 2.0, 'a'),
                   answer((50, 0, 0), (50, 0, 0), 0.0, 'b')])
    assert rows['a']['nme_68_percent'] == pytest.approx(100 * 2 / size)
    assert rows['all']['nme_68_percent'] == pytest.approx(100 * 1 / size)
    assert rows['all']['nme_68_contour_percent'] == 0
    pose = rows['all']['pose_error_deg']
    assert [pose[k] for k in ('yaw', 'pitch', 'roll', 'mean')] == pytest.approx([1, 1.5, 2, 1.5])
    assert rows['all']['nme_68_by_yaw_percent'] == pytest.approx(
        {'0-30': 100 * 2 / size, '30-60': 0, 'mean': 100 * 1 / size})
    text = format_report(rows)
    assert 'pose error: yaw 1.00°, pitch 1.50°, roll 2.00°, mean 1.50° of 2 faces' in text


def test_the_sign_of_yaw_is_counted_where_the_reference_is_sure():
    answers = [answer((0, 0, 0), (yaw, 0, 0), 0) for yaw in (25, -30, 4)]
    sign = report(answers, np.array([30.0, 30.0, 1.0]))['all']['yaw_sign']
    assert sign == {'faces': 2, 'agree_percent': 50.0}


@pytest.mark.parametrize('degrees', [25.0, -25.0])
def test_a_turned_picture_takes_its_points_along(degrees):
    image = np.zeros((160, 160, 3), np.uint8)
    points = POINTS.round()
    x, y = points[40].astype(int)
    image[y - 1:y + 2, x - 1:x + 2] = 255
    turned, moved = turn_picture(image, points, degrees)
    ys, xs = np.nonzero(turned[..., 0] > 127)
    np.testing.assert_allclose([xs.mean(), ys.mean()], moved[40], atol=0.5)
    # Counter-clockwise on the screen: what was right of the middle moves up.
    box = landmark_box(points)
    right = np.array([[(box[0] + box[2]) / 2 + 30, (box[1] + box[3]) / 2]])
    with_right = turn_picture(image, np.concatenate([points, right]), degrees)[1][-1]
    assert (with_right[1] < right[0, 1]) == (degrees > 0)


def test_headless_views_leave_no_face_in_their_box():
    image = np.random.default_rng(2).integers(0, 256, (160, 160, 3), np.uint8)
    views = headless_views(image, POINTS)
    *corners, (covered, box), (scrambled, same_box) = views
    assert len(corners) >= 1 and (box == same_box).all()
    x0, y0, x1, y1 = np.round(box).astype(int)
    assert covered[y0:y1, x0:x1].std(axis=(0, 1)).max() < 1
    face = scrambled[y0:y1, x0:x1].astype(int)
    assert (face != image[y0:y1, x0:x1]).mean() > 0.9
    # The blocks only change places.
    assert abs(face.mean() - image[y0:y1, x0:x1].mean()) < 2
    assert (covered[:y0 - 1] == image[:y0 - 1]).all()


def test_the_score_is_measured_against_headless_views():
    known = answer((0, 0, 0), (0, 0, 0), 0)
    answers = [replace(known, plain=replace(known.plain, score=score), headless_scores=(low, 0.1))
               for score, low in ((0.9, 0.2), (0.5, 0.6))]
    assert report(answers)['all']['score'] == {
        'heads': 2, 'no_heads': 4, 'area_under_curve': 7 / 8}


@pytest.mark.skipif(not (FACES / 'labels.csv').is_file() or not BASELINES.is_dir(),
                    reason=f'needs {FACES} (TRANS3DHEAD_DATA) and {BASELINES}')
def test_a_peer_goes_through_the_same_command(tmp_path, capsys):
    assert main(['--data', f'crops:{FACES}', '--predictor', '3ddfa_v2', '--limit', '16',
                 '--baselines', str(BASELINES), '--json', str(tmp_path / 'out' / 'figures.json'),
                 '--plots', str(tmp_path / 'plots')]) == 0
    row = json.loads((tmp_path / 'out' / 'figures.json').read_text())['results']['3ddfa_v2']['all']
    assert row['faces'] == 16 and 1.5 < row['inner_51_percent'] < 3.5
    assert row['turn_deg']['median'] < 3.5 and row['mirror_deg']['median'] < 3.5
    assert row['box_inner_51_percent']['median'] < 2
    printed = capsys.readouterr().out
    assert 'helen' in printed and 'lfpw' in printed and 'picture turned by ±25°' in printed
    for name in ('cumulative_error.png', 'worst_3ddfa_v2.png'):
        assert cv2.imread(str(tmp_path / 'plots' / name)).std() > 10
