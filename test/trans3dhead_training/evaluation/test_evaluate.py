"""An evaluation reports the errors of predictions, with what is known of each face."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from clips import DATA
from command_line import evaluate as main
from face_results import POINTS, SIZE, ConstantPredictor, face_result, pointed, posed

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.evaluation.dataset_evaluation import evaluate_dataset
from trans3dhead_training.evaluation.face_errors import collect_errors, decode_label_euler
from trans3dhead_training.evaluation.face_result import check_labels, evaluate_face
from trans3dhead_training.predictors import Alignment
from trans3dhead_training.reports.evaluation_plots import draw_figures
from trans3dhead_training.reports.evaluation_report import compare, make_report
from trans3dhead_training.reports.text_report import format_report

FACES = DATA / 'faces'
BASELINES = FACES.parent.parent / 'baselines'


def test_the_report_has_the_error_of_points_and_pose():
    found = make_report([face_result((10, 0, 0), (12, -3, 4), 2.0, 'a'),
                         face_result((50, 0, 0), (50, 0, 0), 0.0, 'b')])
    rows = found.rows()
    assert rows['a']['nme_68_percent'] == pytest.approx(100 * 2 / SIZE)
    assert rows['all']['nme_68_percent'] == pytest.approx(100 * 1 / SIZE)
    pose = rows['all']['pose_error_deg']
    assert [pose[k] for k in ('yaw', 'pitch', 'roll', 'mean')] == pytest.approx([1, 1.5, 2, 1.5])
    assert rows['all']['nme_68_by_yaw_percent'] == pytest.approx(
        {'0-30': 100 * 2 / SIZE, '30-60': 0, 'mean': 100 * 1 / SIZE})
    text = format_report(found)
    assert 'pose error: yaw 1.00°, pitch 1.50°, roll 2.00°, mean 1.50° of 2 faces' in text


def test_heads_that_nod_are_reported_and_whether_their_pitch_is_shrunk():
    pitches = (-40, -20, 0, 20, 40)
    found = make_report([face_result((0, pitch, 0), (0, 0.75 * pitch, 0), 0.0)
                         for pitch in pitches])
    row = found.rows()['all']
    assert row['nods_geodesic_deg'] == pytest.approx(10)
    assert row['angle_slope'] == {'pitch': pytest.approx(0.75)}
    text = format_report(found)
    assert 'pitch beyond ±25°: geodesic 10.00°' in text and 'slope of pitch 0.750' in text
    upright = make_report([face_result((0, 5, 0), (0, 5, 0), 0.0)]).rows()['all']
    assert 'nods_geodesic_deg' not in upright and 'angle_slope' not in upright


def test_a_shifted_box_is_tried_in_four_directions(tmp_path):
    result = evaluate_face(ConstantPredictor(), posed(tmp_path, (10, 0, 0)))
    result = replace(result, off_rotations=tuple(
        rotation_from_euler(np.array([yaw, 0.0, 0])) for yaw in (4.0, -4, 12, 14)))
    row = make_report([result]).rows()['all']
    assert row['off_geodesic_deg'] == pytest.approx((6 + 14 + 2 + 4) / 4)
    assert 'off_box_deg' in row and 'box off by 25 %' in format_report(make_report([result]))


def test_a_contour_is_scored_only_where_it_is_labelled():
    in_3d = face_result((0, 0, 0), (0, 0, 0), 0.0)
    assert 'nme_68_contour_percent' not in make_report([in_3d]).rows()['all']
    in_2d = replace(in_3d, sample=replace(in_3d.sample, points_are_3d=False))
    assert make_report([in_2d]).rows()['all']['nme_68_contour_percent'] == 0
    both = replace(in_3d, sample=replace(in_3d.sample, contour=POINTS[:17] + np.array([[0, 4]])))
    assert make_report([both]).rows()['all']['nme_68_contour_percent'] == pytest.approx(
        100 * 4 / SIZE * 17 / 68)


def test_each_face_fails_by_the_definition_of_its_own_labels():
    in_3d = face_result((0, 0, 0), (0, 0, 0), 0.07 * SIZE)
    # Over the eyes, nearer to each other than the box is large, the same shift is a failure.
    in_2d = replace(in_3d, sample=replace(in_3d.sample, points_are_3d=False))
    row = make_report([in_3d, in_2d]).rows()['all']
    assert row['failures_percent'] == 50 and row['area_under_curve'] == pytest.approx(1 / 16)


def test_a_face_that_is_labelled_in_part_is_scored_by_what_is_labelled():
    visible = np.arange(68) % 2 == 0
    seen = POINTS[visible]
    own_size = float(np.sqrt(np.prod(np.ptp(seen, axis=0))))
    whole = face_result((0, 0, 0), (0, 0, 0), 2.0, 'whole')
    part = face_result((0, 0, 0), (0, 0, 0), 2.0, 'part')
    part = replace(part, sample=replace(part.sample, points_are_3d=False, visible=visible,
                                        points=np.where(visible[:, None], POINTS, np.nan)),
                   prediction=replace(part.prediction, contour=POINTS + np.array([3.0, 0.0])))
    check_labels(part.sample)
    found = make_report([whole, part])
    rows = found.rows()
    assert rows['part']['labelled_percent'] == pytest.approx(100 * 3 / own_size)
    assert not {'nme_68_percent', 'inner_51_percent'} & rows['part'].keys()
    assert 'labelled_percent' not in rows['whole']
    assert rows['all']['nme_68_percent'] == pytest.approx(100 * 2 / SIZE)
    assert 'labelled pts %' in format_report(found)
    fails = replace(part, prediction=replace(part.prediction,
                                             contour=POINTS + 0.1 * own_size))
    assert make_report([fails]).rows()['part']['failures_percent'] == 100
    with pytest.raises(ValueError, match='points of face'):
        check_labels(replace(part.sample, visible=np.ones(68, bool)))


def test_a_prediction_that_is_not_finite_is_a_failure_and_is_counted():
    known = face_result((0, 0, 0), (0, 0, 0), 0.0)
    broken = replace(known, prediction=replace(
        known.prediction, landmarks=np.full((68, 2), np.nan), rotation=np.full((3, 3), np.nan)))
    row = make_report([known, broken], draws=20).rows()['all']
    assert row['failures_percent'] == 50 and row['predictions_not_finite'] == 1
    assert row['area_under_curve'] == 0.5
    assert row['nme_68_percent'] is None and row['pose_error_deg']['yaw'] is None
    assert json.dumps(row, allow_nan=False)


def test_the_sign_of_yaw_is_compared_where_the_reference_is_confident():
    results = [face_result((0, 0, 0), (yaw, 0, 0), 0) for yaw in (25, -30, 4)]
    sign = make_report(results, np.array([30.0, 30.0, 1.0])).rows()['all']['yaw_sign']
    assert sign == {'faces': 2, 'agree_percent': 50.0}


def test_a_label_beyond_the_fold_of_the_angles_stays_what_it_was():
    labels = np.array([[95.0, 10, -5], [-97, -20, 30], [20, 10, 120], [30, -5, 98], [0, 0, 0]])
    np.testing.assert_allclose(decode_label_euler(rotation_from_euler(labels)), labels, atol=1e-9)
    # A head from behind is in no bin of yaw.
    behind = face_result((120, 0, 0), (120, 0, 0), 1.0)
    assert 'nme_68_by_yaw_percent' not in make_report([behind]).rows()['all']


def test_a_set_without_landmarks_is_measured_by_its_pose(tmp_path):
    found = make_report([evaluate_face(ConstantPredictor(), posed(tmp_path, (yaw, 0, 0)))
                         for yaw in (10, 14)])
    row = found.rows()['all']
    assert row['faces'] == 2 and row['pose_error_deg']['yaw'] == pytest.approx(2)
    assert row['geodesic_deg'] == pytest.approx(2) and row['score']['heads'] == 2
    assert row['rotation_frobenius'] == pytest.approx(2 * 2 ** 0.5 * np.sin(np.deg2rad(1)))
    assert {'turn_deg', 'mirror_deg', 'box_deg', 'box_inner_51_percent', 'noise_deg',
            'noise_inner_51_percent'} <= row.keys()
    assert not any('nme' in name or 'offset' in name or 'failures' in name for name in row)
    text = format_report(found)
    assert 'pts %' not in text and 'nan' not in text and 'mean 0.67° of 2 faces' in text


def test_faces_without_landmarks_leave_the_landmark_figures_of_the_others(tmp_path):
    with_points = face_result((10, 0, 0), (10, 0, 0), 2.0)
    without = evaluate_face(ConstantPredictor(), posed(tmp_path), label_free=False)
    found = make_report([with_points, without])
    rows, alone = found.rows(), make_report([with_points]).rows()
    assert rows['all']['nme_68_percent'] == alone['all']['nme_68_percent']
    assert rows['all']['faces_with_landmarks'] == 1 and 'nme_68_percent' not in rows['biwi']
    assert 'landmarks are labelled on 1 of the faces' in format_report(found)


def test_the_score_is_measured_against_headless_views():
    known = face_result((0, 0, 0), (0, 0, 0), 0)
    results = [replace(known, prediction=replace(known.prediction, score=score),
                       headless_scores=(low, 0.1))
               for score, low in ((0.9, 0.2), (0.5, 0.6))]
    assert make_report(results).rows()['all']['score'] == {
        'heads': 2, 'no_heads': 4, 'roc_auc': 7 / 8}


def test_predictors_are_compared_on_the_same_faces():
    generator = np.random.default_rng(1)
    hard = generator.uniform(1, 20, 60)
    faces = [replace(a, sample=replace(a.sample, group=str(i)))
             for i, a in enumerate(face_result((0, 0, 0), (0, 0, 0), float(e)) for e in hard)]
    other = [replace(a, prediction=replace(
        a.prediction, landmarks=a.prediction.landmarks + np.array([0.5, 0]))) for a in faces]
    reports = {'new': make_report(faces, draws=200), 'old': make_report(other, draws=200)}
    row = next(c for c in compare(reports) if c.figure == 'nme_68_percent')
    # Faces differ by far more than the two predictors, and yet the difference is sure.
    low, high = reports['new'].estimates['all']['nme_68_percent'].interval
    assert row.difference == pytest.approx(-50 / SIZE) and high - low > 50 / SIZE
    assert row.interval[1] < 0 and row.better_percent == 100
    same = compare({'a': make_report(faces, draws=50), 'b': make_report(faces, draws=50)})
    assert {c.better_percent for c in same} == {50}


def test_figures_of_a_set_without_landmarks_use_the_rotation(tmp_path):
    given = [evaluate_face(ConstantPredictor(), posed(tmp_path), label_free=False)]
    no_rotation = [replace(given[0], prediction=Alignment(POINTS))]
    results = {'steady': given, 'points_only': no_rotation}
    pictures = draw_figures(results, {name: make_report(a) for name, a in results.items()})
    assert [picture.name for picture in pictures] == [
        'cumulative_error', 'error_against_yaw', 'worst_steady']
    for picture in pictures:
        assert cv2.imdecode(np.frombuffer(picture.png, np.uint8), cv2.IMREAD_COLOR).std() > 1
    assert 'head 2.0°' in pictures[-1].text
    assert draw_figures({'p': no_rotation}, {'p': make_report(no_rotation)}) == []


def test_an_unreadable_image_is_named_and_skipped(tmp_path):
    good, bad = pointed(tmp_path), pointed(tmp_path, 'broken')
    bad.picture.write_bytes(b'no picture')
    evaluation = evaluate_dataset([bad, good], {'steady': ConstantPredictor()}, label_free=False)
    assert evaluation.unreadable == ['broken'] and len(evaluation.results['steady']) == 1
    with pytest.raises(ValueError, match='none of the 1 images could be read'):
        evaluate_dataset([bad], {'steady': ConstantPredictor()})


def test_labels_that_are_not_finite_are_named(tmp_path):
    sample = pointed(tmp_path)
    points = sample.points.copy()
    points[3] = np.nan
    with pytest.raises(ValueError, match=r'points of face \(noise\) holds a value that is not'):
        check_labels(replace(sample, points=points))
    with pytest.raises(ValueError, match='has no extent'):
        check_labels(replace(sample, points=np.zeros((68, 2))))
    check_labels(sample)


@pytest.mark.parametrize(('options', 'message'), [
    (['--limit', '0'], 'limit: expected at least 1'),
    (['--draws', '-1'], 'draws: expected at least 0'),
    (['--data', 'jpeg:there'], 'is not FORMAT:PATH'),
    (['--data', 'jpeg:there'], 'pts, dad, shards, heads, masks, rooms, scenes'),
    (['--clip', 'nowhere.gif'], 'nowhere.gif does not exist'),
])
def test_a_mistake_is_one_line(options, message, capsys):
    assert cli.main(['evaluate', *options]) == 2
    assert message in capsys.readouterr().err


def test_figures_do_not_overwrite_labels(tmp_path, capsys):
    labels = tmp_path / 'a.pts'
    labels.write_text('version: 1')
    for option in ('--json', '--html'):
        assert cli.main(['evaluate', '--data', f'pts:{tmp_path}', option, str(labels)]) == 2
        assert 'is one of the files of the source' in capsys.readouterr().err
    assert labels.read_text() == 'version: 1'


@pytest.mark.train
def test_an_empty_set_and_points_without_poses_do_not_crash(tmp_path, capsys):
    with pytest.raises(ValueError, match='no shards in'):
        main(['--data', f'shards:{tmp_path}'])
    sample = pointed(tmp_path)
    held_back = replace(sample, picture=sample.picture.read_bytes(), is_validation=False)
    write_shard(tmp_path / 'a.safetensors', [held_back])
    with pytest.raises(ValueError, match="no labelled face in the split 'validation'"):
        main(['--data', f'shards:{tmp_path}'])
    assert main(['--data', f'shards:{tmp_path}', '--split', 'all', '--labels-only', '--draws', '5',
                 '--baselines', str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert 'pose error' not in printed and 'sign of yaw not checked' in printed


class Page(HTMLParser):
    """The pictures and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == 'img':
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.skipif(not (FACES / 'labels.csv').is_file() or not BASELINES.is_dir(),
                    reason=f'needs {FACES} (TRANS3DHEAD_DATA) and {BASELINES}')
@pytest.mark.train
def test_our_network_and_another_go_through_the_same_command(tmp_path, capsys):
    assert main(['--data', f'crops:{FACES}', '--predictor', 'ours', '3ddfa_v2', '--limit', '5',
                 '--baselines', str(BASELINES), '--json', str(tmp_path / 'out' / 'figures.json'),
                 '--plots', str(tmp_path / 'plots'), '--html', str(tmp_path / 'page.html'),
                 '--draws', '50', '--device', 'cpu']) == 0
    record = json.loads((tmp_path / 'out' / 'figures.json').read_text())
    row = record['results']['3ddfa_v2']['all']
    assert row['faces'] == 5 and 1.5 < row['inner_51_percent'] < 3.5
    low, high = row['intervals']['inner_51_percent']
    assert low < row['inner_51_percent'] < high
    assert row['turn_deg']['median'] < 3.5 and row['mirror_deg']['median'] < 3.5
    assert row['box_inner_51_percent']['median'] < 2 and row['noise_deg']['median'] < 1
    assert 'calibration' not in row and 'calibration' in record['results']['ours']['all']
    assert list(record['calibration']) == ['ours'] and record['unreadable'] == []
    assert len(record['faces']) == len(record['errors']['ours']['inner_51_percent']) == 5
    assert {c['second'] for c in record['comparisons']} == {'3ddfa_v2'}
    printed = capsys.readouterr().out
    assert 'helen' in printed and 'lfpw' in printed and 'image rotated by ±25°' in printed
    assert 'ours − 3ddfa_v2: inner_51_percent' in printed
    names = {path.name for path in (tmp_path / 'plots').iterdir()}
    assert names == {'cumulative_error.png', 'error_against_yaw.png', 'calibration_ours.png',
                     'worst_ours.png', 'worst_3ddfa_v2.png'}
    page = Page((tmp_path / 'page.html').read_text())
    assert len(page.pictures) == len(names) and all(p['alt'] for p in page.pictures)
    assert not re.search(r'(src|href)="(?!data:)', (tmp_path / 'page.html').read_text())
    data = base64.b64decode(page.pictures[0]['src'].removeprefix('data:image/png;base64,'))
    assert data == (tmp_path / 'plots' / 'cumulative_error.png').read_bytes()
    assert {'inner 51 %', '3ddfa_v2', 'Without labels', 'Confidence'} <= set(page.words)


def test_collected_columns_have_one_row_per_face(tmp_path):
    errors = collect_errors([face_result((0, 0, 0), (0, 0, 0), 1.0),
                             evaluate_face(ConstantPredictor(), posed(tmp_path))])
    assert all(len(values) == 2 for values in errors.columns.values())
    assert len(errors.subset(np.array([False, True]))) == 1
    assert np.isnan(errors.columns['inner_51_percent'][1])
