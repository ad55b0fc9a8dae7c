"""An evaluation reads the layouts people have and reports what the answers deserve."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.training.data.sample import Sample
from trans3dhead_ros.training.evaluate import main
from trans3dhead_ros.training.evaluation_plots import write_plots
from trans3dhead_ros.training.evaluation_report import format_report, labelled_euler, report
from trans3dhead_ros.training.evaluation_views import (
    Answer,
    ask,
    headless_views,
    outline,
    turn_picture,
)
from trans3dhead_ros.training.predictors import Alignment

FACES = Path(os.environ.get('TRANS3DHEAD_DATA', '../shared/data')) / 'faces'
BASELINES = FACES.parent.parent / 'baselines'
POINTS = np.random.default_rng(5).uniform([30, 20], [130, 120], (68, 2))


def answer(euler_deg: tuple, predicted_deg: tuple, shift: float, source: str = 'set') -> Answer:
    sample = Sample(Path('face.jpg'), source, 'photo', True, points=POINTS, points_are_3d=True,
                    rotation=rotation_from_euler(np.array(euler_deg, float)))
    return Answer(sample, Alignment(POINTS + np.array([shift, 0.0]), POINTS,
                                    rotation_from_euler(np.array(predicted_deg, float))))


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


def test_a_label_beyond_the_fold_of_the_angles_stays_what_it_was():
    labels = np.array([[95.0, 10, -5], [-97, -20, 30], [20, 10, 120], [30, -5, 98], [0, 0, 0]])
    np.testing.assert_allclose(labelled_euler(rotation_from_euler(labels)), labels, atol=1e-9)


BOX = np.array([40.0, 30.0, 120.0, 100.0])


def posed(folder: Path, euler_deg: tuple = (10, 0, 0), source: str = 'biwi') -> Sample:
    """A sample of a set that has a pose and a box, and no landmarks."""
    cv2.imwrite(str(folder / 'head.png'), np.full((160, 200, 3), 99, np.uint8))
    return Sample(folder / 'head.png', source, 'person', True, given_box=BOX,
                  rotation=rotation_from_euler(np.array(euler_deg, float)))


class Steady:
    """Answers every box with the same rotation and with points spread over the box."""

    name = 'steady'

    def predict(self, image: np.ndarray, boxes: np.ndarray) -> list[Alignment]:
        unit = (POINTS - POINTS.min(axis=0)) / np.ptp(POINTS, axis=0)
        return [Alignment(box[:2] + unit * (box[2:] - box[:2]), score=0.5,
                          rotation=rotation_from_euler(np.array([12.0, 0, 0]))) for box in boxes]


def test_a_set_without_landmarks_is_measured_by_its_pose(tmp_path):
    given = [ask(Steady(), posed(tmp_path)), ask(Steady(), posed(tmp_path, (14, 0, 0)))]
    rows = report(given)
    row = rows['all']
    assert row['faces'] == 2 and row['pose_error_deg']['yaw'] == pytest.approx(2)
    assert row['geodesic_deg'] == pytest.approx(2) and row['score']['heads'] == 2
    assert {'turn_deg', 'mirror_deg', 'box_deg', 'box_inner_51_percent'} <= row.keys()
    assert not any('nme' in name or 'offset' in name or 'failures' in name for name in row)
    text = format_report(rows)
    assert 'pts %' not in text and 'nan' not in text and 'mean 0.67° of 2 faces' in text


def test_faces_without_landmarks_leave_the_landmark_figures_of_the_others(tmp_path):
    with_points = answer((10, 0, 0), (10, 0, 0), 2.0)
    rows = report([with_points, ask(Steady(), posed(tmp_path), label_free=False)])
    alone = report([with_points])
    assert rows['all']['nme_68_percent'] == alone['all']['nme_68_percent']
    assert rows['all']['faces_with_landmarks'] == 1 and 'nme_68_percent' not in rows['biwi']
    assert 'landmarks are labelled on 1 of the faces' in format_report(rows)


def test_plots_of_a_set_without_landmarks_go_by_the_rotation(tmp_path):
    given = [ask(Steady(), posed(tmp_path), label_free=False)]
    no_rotation = [replace(given[0], plain=Alignment(POINTS))]
    paths = write_plots(tmp_path / 'plots', {'steady': given, 'points_only': no_rotation})
    assert [path.name for path in paths] == ['cumulative_error.png', 'worst_steady.png']
    assert all(cv2.imread(str(path)).std() > 1 for path in paths)
    assert write_plots(tmp_path / 'none', {'points_only': no_rotation}) == []


def test_a_box_without_landmarks_keeps_its_size_when_its_picture_turns(tmp_path):
    sample = replace(posed(tmp_path), given_box=np.array([40.0, 30.0, 110.0, 100.0]))
    image = sample.image()
    np.testing.assert_allclose(landmark_box(outline(sample)), sample.box)
    turned = landmark_box(turn_picture(image, outline(sample), 25.0)[1])
    np.testing.assert_allclose(turned[2:] - turned[:2], [70, 70], atol=0.3)
    assert outline(answer((0, 0, 0), (0, 0, 0), 0).sample) is POINTS


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
