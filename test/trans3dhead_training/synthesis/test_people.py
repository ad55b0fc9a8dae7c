"""Synthetic people: a seed gives the same person, labels lie on the skin, nothing floats."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from clips import data
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from trans3dhead_training.core.surface_points import closest_points
from trans3dhead_training.fitting.head_basis import build_head_model
from trans3dhead_training.synthesis.anatomy.face_kit import load_face_kit
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import skin_texels
from trans3dhead_training.synthesis.appearance.portrait_texture import (
    PortraitFit,
    bake_portrait_texture,
    load_portrait_textures,
)
from trans3dhead_training.synthesis.people.person import (
    NO_DISPLACEMENT,
    Person,
)
from trans3dhead_training.synthesis.people.person_assets import PersonAssets
from trans3dhead_training.synthesis.people.person_sampling import sample_person

pytestmark = pytest.mark.train


@pytest.fixture(scope='module')
def assets(people_cache) -> PersonAssets:
    root = data('head_model', 'ict_facekit.npz').parent.parent
    return PersonAssets.load(root, people_cache)


@pytest.fixture(scope='module')
def people(assets) -> list[Person]:
    return [sample_person(assets, np.random.default_rng(seed)) for seed in range(8)]


def expression(person: Person, **named: float) -> np.ndarray:
    values = np.zeros(len(person.expression_names), np.float32)
    for name, value in named.items():
        values[person.expression_names.index(name)] = value
    return values


def vertices(meshes, name: str) -> np.ndarray:
    return next(mesh for mesh in meshes if mesh.name == name).vertices.numpy()


def test_missing_assets_are_named(tmp_path):
    with pytest.raises(ValueError, match='ict_facekit.npz'):
        PersonAssets.load(tmp_path, tmp_path / 'cache')


def test_a_damaged_head_is_named(tmp_path):
    (tmp_path / 'head_model').mkdir()
    (tmp_path / 'head_model' / 'ict_facekit.npz').write_bytes(b'PK nothing')
    shutil.copytree(data('appearance', 'makehuman', 'base.obj').parent,
                    tmp_path / 'appearance' / 'makehuman')
    with pytest.raises(ValueError, match='ict_facekit.npz is damaged'):
        PersonAssets.load(tmp_path, tmp_path / 'cache')


def test_the_same_seed_gives_the_same_person(assets):
    first, second = (sample_person(assets, np.random.default_rng(3)) for _ in range(2))
    assert first.description == second.description
    zero = np.zeros(len(first.expression_names))
    for a, b in zip(first.meshes(zero), second.meshes(zero), strict=True):
        assert torch.equal(a.vertices, b.vertices)
        assert torch.equal(a.texture, b.texture)
    other = sample_person(assets, np.random.default_rng(4))
    assert not np.array_equal(first.identity, other.identity)


def test_cached_assets_give_the_same_person(assets, tmp_path, monkeypatch):
    root = data('head_model', 'ict_facekit.npz').parent.parent
    module = 'trans3dhead_training.synthesis.people.person_assets'
    monkeypatch.setattr(f'{module}.build_assets', lambda *_: assets)
    PersonAssets.load(root, tmp_path)  # writes
    monkeypatch.setattr(f'{module}.build_assets', lambda *_: pytest.fail('the cache was not used'))
    again = PersonAssets.load(root, tmp_path)
    for seed in (0, 1):
        persons = [sample_person(w, np.random.default_rng(seed)) for w in (assets, again)]
        meshes = [p.meshes(np.zeros(len(p.expression_names))) for p in persons]
        for a, b in zip(*meshes, strict=True):
            assert torch.equal(a.vertices, b.vertices)
            assert torch.equal(a.texture, b.texture)


def test_a_damaged_cache_is_made_again(assets, tmp_path, monkeypatch):
    root = data('head_model', 'ict_facekit.npz').parent.parent
    (tmp_path / 'person_assets.npz').write_bytes(b'PK half a file')
    monkeypatch.setattr(
        'trans3dhead_training.synthesis.people.person_assets.build_assets', lambda *_: assets
    )
    assert PersonAssets.load(root, tmp_path) is assets
    assert (tmp_path / 'person_assets.npz').stat().st_size > 1e6


def test_meshes_are_whole(people):
    for person in people:
        names = set()
        for mesh in person.meshes(expression(person, jawOpen=0.7, eyeBlink_L=1.0), (10, -5)):
            names.add(mesh.name)
            assert torch.isfinite(mesh.vertices).all()
            assert mesh.triangles.min() >= 0
            assert mesh.triangles.max() < len(mesh.vertices)
            assert mesh.uv.min() >= 0
            assert mesh.uv.max() <= 1
            assert max(mesh.texture.shape[:2]) <= 1024
        assert {'skin', 'eye_left', 'eye_right', 'lashes', 'teeth', 'torso'} <= names
        assert len(person.sources) >= 3
        assert all('CC0' in source or 'MIT' in source or 'public domain' in source
                   for source in person.sources)


def test_head_vertices_are_those_of_the_head_model_for_its_identities(people):
    model = build_head_model(data('head_model', 'ict_facekit.npz'))
    generator = np.random.default_rng(0)
    identity = np.zeros(100, np.float32)
    identity[:50] = generator.normal(size=50)
    person = dataclasses.replace(people[0], identity=identity, asymmetry=NO_DISPLACEMENT)
    assert person.expression_names == model.expression_names
    values = generator.uniform(0, 0.4, len(model.expression_names)).astype(np.float32)
    expected = model(torch.from_numpy(identity[None, :50]), torch.from_numpy(values[None]))[0]
    assert np.abs(person.head_vertices(values) - expected.numpy()).max() < 1e-5


def test_head_vertices_lie_on_the_persons_skin(people):
    for person in people[:3]:
        values = expression(person, mouthSmile_L=0.6, mouthSmile_R=0.6)
        head = person.head_vertices(values)[:3000]
        skin = person.meshes(values)[0]
        found = closest_points(head.astype(float), skin.vertices.numpy().astype(float),
                               skin.triangles.numpy())
        assert np.percentile(found.distance, 99) < 0.0005  # the rest: lids kept off the eyeballs
        assert found.distance.max() < 0.002


def test_hair_and_clothes_stay_attached(people):
    for person in people:
        meshes = person.meshes(np.zeros(len(person.expression_names)))
        skin = vertices(meshes, 'skin')
        tree = cKDTree(skin)
        for mesh in meshes:
            if mesh.name == 'hair':
                points = mesh.vertices.numpy()
                on_head = points[points[:, 2] > 0.02]
                assert np.percentile(tree.query(on_head)[0], 75) < 0.03
        collar = vertices(meshes, 'torso')
        assert tree.query(collar)[0].min() < 0.004


def test_eyebrows_lie_above_the_eyes(assets):
    position = assets.uv_maps.position
    for opacity in assets.brows:
        weight = opacity.astype(float)
        assert weight.sum() > 1e4
        middle = (position * weight[..., None]).sum((0, 1)) / weight.sum()
        assert 0.010 < middle[2] < 0.035
        assert abs(middle[1]) < 0.004


def test_gaze_turns_the_eyes_and_blinks_cover_them(people):
    person = people[1]
    straight = person.meshes(expression(person))
    left = person.meshes(expression(person), gaze_deg=(20, 0))
    looked = person.meshes(expression(person, eyeLookOut_L=1.0, eyeLookIn_R=1.0))
    for name in ('eye_left', 'eye_right'):
        before = vertices(straight, name)
        front = before[:, 0].argmax()
        for after in (left, looked):
            moved = vertices(after, name)[front] - before[front]
            assert moved[1] > 0.003  # to the head's left
    closed = person.meshes(expression(person, eyeBlink_L=1.0, eyeBlink_R=1.0))
    for name, eyelid in person.eyelids.items():
        away = np.linalg.norm(vertices(closed, 'skin')[eyelid.vertices] - eyelid.centre, axis=1)
        assert (away >= eyelid.min_distance - 1e-6).all(), name


def test_the_torso_turns_and_the_face_does_not(people):
    person = people[2]
    turn = Rotation.from_euler('z', 30, degrees=True).as_matrix()
    rest = person.meshes(expression(person))
    other = person.meshes(expression(person), body_rotation=turn)
    skin = vertices(rest, 'skin')
    face = skin[:, 2] > -0.06
    assert np.array_equal(vertices(other, 'skin')[face], skin[face])
    assert np.abs(vertices(other, 'torso') - vertices(rest, 'torso')).max() > 0.03


@pytest.fixture(scope='module')
def texels():
    return skin_texels(load_face_kit(data('head_model', 'ict_facekit.npz')))


def frontal(side: float, turned_deg: float = 0.0) -> PortraitFit:
    facing = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    turn = Rotation.from_euler('y', turned_deg, degrees=True).as_matrix()
    return PortraitFit(turn @ facing, np.zeros(50), np.zeros(53), 0.8, np.log(12.0),
                       np.array([0.0, -0.4]), np.array([160.0, 160.0]), side)


def test_a_portrait_gives_its_detail_and_the_base_its_tone(assets, texels):
    base, skin = assets.skins[3], assets.parts['skin']
    picture = np.full((320, 320, 3), 90, np.uint8)
    picture[:, 170:175] = 60  # a line down one cheek
    result = bake_portrait_texture(picture, frontal(180), base, skin, texels, assets.uv_maps)
    assert np.array_equal(result[:, 512:], base[:, 512:])  # nobody saw the back of the head
    change = np.abs(result.astype(int) - base).max(-1)
    assert change[150:330, 130:382].max() > 20
    middle = (slice(190, 300), slice(130, 382))
    assert np.abs(result[middle].mean((0, 1)) - base[middle].mean((0, 1))).max() < 8


@pytest.mark.parametrize(('fit', 'why'), [
    (frontal(60), '60 px'), (frontal(180, 40), 'turned away')])
def test_unsuitable_portraits_are_refused(assets, texels, fit, why):
    with pytest.raises(ValueError, match=why):
        bake_portrait_texture(np.zeros((320, 320, 3), np.uint8), fit, assets.skins[0],
                              assets.parts['skin'], texels, assets.uv_maps)


def test_damaged_portrait_fits_are_named(assets, texels, tmp_path):
    (tmp_path / 'fits.npz').write_bytes(b'PK no archive')
    with pytest.raises(ValueError, match='fits.npz is damaged'):
        load_portrait_textures(tmp_path, tmp_path / 'fits.npz', assets.skins, assets.skin_means,
                               assets.parts['skin'], texels, assets.uv_maps)


def test_wrong_shapes_are_named(people):
    with pytest.raises(ValueError, match='expression'):
        people[0].meshes(np.zeros(7))
    with pytest.raises(ValueError, match='body_rotation'):
        people[0].meshes(np.zeros(53), body_rotation=np.eye(4))


def test_people_differ(people):
    assert len({person.description['skin'] for person in people}) >= 4
    assert len({person.description['hair'] for person in people}) >= 4
