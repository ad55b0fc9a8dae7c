"""OBJ meshes, MakeHuman bindings and pictures are read, and damaged ones named."""


import numpy as np
import pytest

from trans3dhead_training.synthesis.anatomy import asset_files

SQUARE = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g square
f 1/1 2/2 3/3 4/4
"""


def test_an_obj_becomes_triangles_with_v_down(tmp_path):
    (tmp_path / 'square.obj').write_text(SQUARE)
    mesh = asset_files.read_obj(tmp_path / 'square.obj')
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv[0].tolist() == [[0, 1], [1, 1], [1, 0]]
    assert mesh.groups == ('square',)


@pytest.mark.parametrize('text', ['f 1/1 2/2 3/3\n', 'v 0 zero 0\n', ''])
def test_a_damaged_obj_is_named(tmp_path, text):
    (tmp_path / 'broken.obj').write_text(text)
    with pytest.raises(ValueError, match='broken.obj is damaged'):
        asset_files.read_obj(tmp_path / 'broken.obj')


def test_a_placement_is_weights_and_a_scaled_offset(tmp_path):
    file = tmp_path / 'brow.mhclo'
    file.write_text('x_scale 0 1 0.5\nverts 0\ntag young\n'
                    ' 0 1 2 0.5 0.5 0.0 0.1 0.2 0.0\n3\n\ndelete_verts\n0 - 1\n')
    base = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert np.allclose(asset_files.read_mhclo_vertices(file, base), [[0.7, 0.2, 0], [0, 0, 1]])


def test_a_damaged_picture_or_placement_is_named(tmp_path):
    (tmp_path / 'eye.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match='eye.png is damaged'):
        asset_files.read_rgba(tmp_path / 'eye.png')
    (tmp_path / 'hair.mhclo').write_text('verts 0\n9 9 9 1 0 0 0 0 0\n')
    with pytest.raises(ValueError, match='hair.mhclo is damaged'):
        asset_files.read_mhclo_vertices(tmp_path / 'hair.mhclo', np.zeros((3, 3)))
