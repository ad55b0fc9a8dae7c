"""Labels follow the pixels through every view; held-out pictures stay out."""

import numpy as np
import pytest
import torch
from detector_set import write_detector_set

from trans3dhead_ros.errors import UserError
from trans3dhead_training.data.labels import is_held_out
from trans3dhead_training.detection.detection_dataset import (
    DetectionDataset,
    DetectionSampling,
    SourceShares,
)
from trans3dhead_training.detection.labelled_picture import (
    MAX_SIDE,
    HeadLabels,
    LabelledPicture,
)
from trans3dhead_training.detection.light_augmentation import LightConfig, change_light
from trans3dhead_training.detection.picture_sources import (
    read_face_boxes,
    read_head_boxes,
    read_rooms,
    read_scenes,
)
from trans3dhead_training.detection.view_sampling import (
    ViewConfig,
    render_view,
    view_labels,
    view_matrix,
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_detector_set(tmp_path_factory.mktemp('set'))


def marked_picture() -> LabelledPicture:
    """A white disc on black, whose box is labelled."""
    y, x = np.mgrid[:240, :320]
    disc = ((x - 200) / 24) ** 2 + ((y - 90) / 36) ** 2 <= 1
    image = np.repeat(disc[..., None], 3, axis=2).astype(np.uint8) * 255
    return LabelledPicture(image, HeadLabels.of_boxes(np.array([[176.0, 54, 224, 126]]),
                                                      up_weight=1.0))


def test_boxes_enclose_the_turned_disc_in_every_view():
    """The box of a turned picture follows the turned ellipse, not the corners of the old box."""
    picture, size, checked = marked_picture(), (160, 128), 0
    config = ViewConfig(any_turn_share=1.0)
    for seed in range(60):
        matrix = view_matrix(picture, size, np.random.default_rng(seed), config)
        view = render_view(picture.image, matrix, size, np.zeros(3))
        heads = picture.heads.moved(matrix)
        box = heads.head_box[0]
        if (box[:2] < 1).any() or (box[2:] > np.array(size) - 2).any():
            continue
        ys, xs = np.nonzero(view[..., 0] > 127)
        seen = np.array([xs.min(), ys.min(), xs.max(), ys.max()])
        np.testing.assert_allclose(box, seen, atol=1.6)
        checked += 1
    assert checked >= 15


def test_up_turns_with_the_picture_and_boxes_swap_their_sides():
    heads = marked_picture().heads.moved(np.array([[0.0, -1, 239], [1, 0, 0]]))
    np.testing.assert_allclose(heads.up, [[1, 0]], atol=1e-9)  # a quarter turn clockwise
    width, height = heads.head_box[0, 2:] - heads.head_box[0, :2]
    assert (width, height) == (pytest.approx(72), pytest.approx(48))


def test_a_mirrored_view_keeps_up_and_flips_sideways():
    tilted = HeadLabels.of_boxes(np.array([[0.0, 0, 10, 10]])).moved(
        np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0]]))
    mirrored = tilted.moved(np.array([[-1.0, 0, 99], [0, 1, 0]]))
    np.testing.assert_allclose(mirrored.up, tilted.up * [-1, 1])


def test_small_and_cut_heads_are_excluded_from_the_loss():
    boxes = np.array([[10.0, 10, 40, 40], [60, 60, 63, 64], [-20, 50, 14, 84], [-90, 0, -2, 80]])
    labels = view_labels(HeadLabels.of_boxes(boxes), (100, 100), ViewConfig())
    np.testing.assert_allclose(labels.heads.head_box, boxes[:1])
    np.testing.assert_allclose(labels.ignored, boxes[1:3])  # the last one is not in the view


def test_a_shrunk_picture_keeps_its_labels_on_the_pixels():
    picture = marked_picture()
    large = LabelledPicture(picture.image.repeat(4, axis=0).repeat(4, axis=1),
                            picture.heads.moved(np.array([[4.0, 0, 1.5], [0, 4, 1.5]])))
    small = large.shrunk()
    assert max(small.image.shape) == MAX_SIDE
    ys, xs = np.nonzero(small.image[..., 0] > 127)
    np.testing.assert_allclose(small.heads.head_box[0],
                               [xs.min(), ys.min(), xs.max(), ys.max()], atol=1.2)


def test_the_head_box_around_a_face_extends_above_it():
    face = HeadLabels.of_boxes(None, np.array([[100.0, 100, 140, 150]]))
    x0, y0, x1, y1 = face.extent_box[0]
    assert x0 < 100 and x1 > 140 and y1 > 140 and 100 - y0 > y1 - 150
    upside_down = face.moved(np.array([[-1.0, 0, 240], [0, -1, 250]]))
    assert upside_down.extent_box[0, 3] - 150 > 100 - upside_down.extent_box[0, 1]


def test_held_out_pictures_are_chosen_by_name(root):
    training, validation = (read_head_boxes(root / 'heads', side) for side in (False, True))
    assert len(training) + len(validation) == len(read_head_boxes(root / 'heads', None)) == 40
    assert len(validation) == sum(is_held_out(f'heads_{number:03d}.png') for number in range(40))
    assert len(validation) > 0


def test_pictures_of_faces_say_that_they_are_incomplete(root):
    picture = read_face_boxes(root / 'masks', None)[0]
    assert not picture.complete and np.isnan(picture.heads.head_box).all()
    assert np.isfinite(picture.heads.landmark_box).all() and (picture.heads.face == 1).all()


def dataset(root, **shares) -> DetectionDataset:
    pictures = {'heads': read_head_boxes(root / 'heads', False),
                'masks': read_face_boxes(root / 'masks', False),
                'rooms': read_rooms(root / 'rooms', False)}
    return DetectionDataset(pictures, DetectionSampling(
        size=96, shares=SourceShares(**shares) if shares else SourceShares()))


def test_batches_depend_on_their_seed_and_shares_are_the_batch(root):
    data = dataset(root)
    whole, again = (data.training_batch(6, (3, 1)) for _ in range(2))
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(whole).items())
    assert not torch.equal(whole.images, data.training_batch(6, (3, 2)).images)
    parts = [data.training_batch(6, (3, 1), (rank, 2)) for rank in range(2)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.images, whole.images[rank::2])
        assert torch.equal(part.head_box, whole.head_box[whole.view % 2 == rank])


def test_rooms_alone_have_no_heads_and_are_complete(root):
    batch = dataset(root, heads=0, masks=0, rooms=1, faces=0, scenes=0).training_batch(8, (0, 0))
    assert len(batch.view) == 0 and (batch.complete == 1).all()


def test_unknown_values_are_zero_with_a_weight_of_zero(root):
    batch = dataset(root, heads=0, masks=1, rooms=0, faces=0, scenes=0).training_batch(8, (0, 0))
    assert len(batch.view) > 0 and (batch.head_known == 0).all() and (batch.head_box == 0).all()
    assert (batch.landmarks_known == 1).all() and (batch.face_known == 1).all()
    assert all(torch.isfinite(value.float()).all() for value in vars(batch).values())


def test_nothing_to_draw_from_is_a_clear_error():
    with pytest.raises(UserError, match='shares'):
        DetectionDataset({'heads': []}, DetectionSampling())


def test_views_become_as_dark_as_a_twentieth():
    view = np.full((64, 64, 3), 200, np.uint8)
    config = LightConfig(dark_share=1.0, dark_gain=(0.05, 0.05), gamma_sigma=0.0, blur_share=0.0,
                         jpeg_share=0.0, side_light_share=0.0)
    assert 6 < change_light(view, np.random.default_rng(0), config).mean() < 14
    assert (view == 200).all()


@pytest.mark.parametrize('line', [b'{"file": "a.png", "heads": [{}]}', b'[1]', b'[' * 100_000,
                                  b'not JSON', b'caf\xe9', b'{}'])
def test_damaged_labels_of_scenes_are_named(tmp_path, line):
    (tmp_path / 'labels.jsonl').write_bytes(line + b'\n')
    with pytest.raises(UserError, match=r'labels\.jsonl is damaged .* make it again'):
        read_scenes(tmp_path)
