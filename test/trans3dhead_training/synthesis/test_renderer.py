"""The renderer: coverage, depth, textures, light, shadows, and the same bits every time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from trans3dhead_training.synthesis.render.lighting import (
    constant_irradiance,
    environment_irradiance,
    extract_sun,
    rotate_irradiance,
    spherical_harmonics,
)
from trans3dhead_training.synthesis.render.mesh_batch import batch_meshes, vertex_normals
from trans3dhead_training.synthesis.render.renderer import Lighting, Scene, render
from trans3dhead_training.synthesis.render.texture_atlas import (
    TextureAtlas,
    decode_srgb,
    encode_srgb,
)
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh

SIZE = 48
UNLIT = Material(unlit=True)
GREY = 90


def one_colour(r: int, g: int, b: int, a: int = 255) -> torch.Tensor:
    return torch.tensor([[[r, g, b, a]]], dtype=torch.uint8)


RED, GREEN = one_colour(250, 20, 30), one_colour(10, 240, 60)
WHITE = one_colour(255, 255, 255)


def intrinsics(focal: float = 40.0, size: int = SIZE) -> torch.Tensor:
    return torch.tensor(
        [[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]], dtype=torch.float32)


def quad(corners: list[list[float]], texture: torch.Tensor, material: Material = UNLIT) -> Mesh:
    """Corners: upper left, lower left, lower right, upper right as the camera sees the front."""
    return Mesh(
        torch.tensor(corners, dtype=torch.float32),
        torch.tensor([[0, 2, 1], [0, 3, 2]])[:, [0, 2, 1]],
        torch.tensor([[[0, 0], [0, 1], [1, 1]], [[0, 0], [1, 1], [1, 0]]], dtype=torch.float32),
        texture, material)


def flat(
    left: float, top: float, right: float, bottom: float, z: float, texture: torch.Tensor,
    material: Material = UNLIT, focal: float = 40.0,
) -> Mesh:
    """A quad across the view whose edges lie at those pixels."""
    c = (SIZE - 1) / 2
    corner = [[(x - c) * z / focal, (y - c) * z / focal, z]
              for x, y in ((left, top), (left, bottom), (right, bottom), (right, top))]
    return quad(corner, texture, material)


def sphere(
    material: Material, centre: tuple[float, float, float] = (0, 0, 1), radius: float = 0.3,
    texture: torch.Tensor = WHITE, rows: int = 40, columns: int = 80,
) -> Mesh:
    polar = torch.linspace(0, math.pi, rows + 1)[:, None]
    azimuth = (torch.arange(columns) / columns * 2 * math.pi)[None]
    unit = torch.stack([
        polar.sin() * azimuth.cos(), polar.cos().expand(-1, columns), polar.sin() * azimuth.sin()
    ], -1)
    i = torch.arange(rows)[:, None] * columns
    j = torch.arange(columns)[None]
    k = (j + 1) % columns
    a, b, c, d = i + j, i + k, i + columns + k, i + columns + j
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).flatten(0, 1)
    return Mesh(
        unit.flatten(0, 1) * radius + torch.tensor(centre), triangles,
        torch.full((len(triangles), 3, 2), 0.5), texture, material)


def light(
    direction: tuple[float, float, float] = (0, 0, -1), colour: float = 0.5, ambient: float = 0.1,
    shadows: bool = False,
) -> Lighting:
    towards = torch.tensor([direction], dtype=torch.float32)
    return Lighting(
        constant_irradiance((ambient,) * 3), towards / towards.norm(),
        torch.full((1, 3), colour), shadows)


def scene(*meshes: Mesh, lighting: Lighting | None = None, K: torch.Tensor | None = None) -> Scene:
    return Scene(
        meshes, intrinsics() if K is None else K, lighting or light(),
        torch.full((SIZE, SIZE, 3), GREY, dtype=torch.uint8))


def crowd() -> list[Scene]:
    """Scenes that have nothing in common."""
    hazy = torch.randint(
        0, 256, (16, 16, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    hair = Material(two_sided=True, cutout=True)
    return [
        scene(sphere(Material(wrap=0.3)), lighting=light((1, -1, -1), shadows=True)),
        scene(),
        scene(flat(5.3, 7.1, 40.7, 33.2, 1.0, RED), sphere(Material(), (0.2, 0.1, 1.1), 0.2),
              flat(2.2, 3.3, 30.1, 44.2, 0.7, hazy, hair),
              lighting=light((0, -1, -0.3), shadows=True)),
        scene(flat(10.2, 10.7, 30.1, 30.5, 1.0, GREEN), K=intrinsics(50.0)),
    ]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


@pytest.mark.parametrize('oversampling', [1, 2, 3])
def test_a_quad_covers_exactly_its_pixels_with_its_colour(oversampling: int) -> None:
    picture = render([scene(flat(9.5, 19.5, 29.5, 25.5, 2.0, RED))], oversampling)
    inside = picture.part[0] == 0
    assert inside.sum() == 20 * 6 and inside[20:26, 10:30].all()
    assert same(picture.image[0, 21:25, 11:29], RED[..., :3].expand(4, 18, 3))
    assert (picture.image[0, :19] == GREY).all() and (picture.image[0, :, 31:] == GREY).all()
    assert picture.depth[0][inside].sub(2.0).abs().max() < 1e-5
    assert picture.depth[0][~inside].isinf().all() and (picture.part[0][~inside] == -1).all()


def test_an_edge_between_pixels_is_mixed_in_linear_light() -> None:
    picture = render([scene(flat(-100, -100, 23, 100, 1.0, WHITE))], 2).image[0]
    share = decode_srgb(picture[24, 23].float()) - decode_srgb(torch.tensor([float(GREY)] * 3))
    whole = 1 - decode_srgb(torch.tensor([float(GREY)] * 3))
    assert ((share / whole) - 0.25).abs().max() < 0.01


def test_crossing_planes_hide_each_other_by_depth() -> None:
    falling = quad([[-1, -1, 1], [-1, 1, 1], [1, 1, 3], [1, -1, 3]], RED)
    rising = quad([[-1, -1, 3], [-1, 1, 3], [1, 1, 1], [1, -1, 1]], GREEN)
    part = render([scene(falling, rising)], 1).part[0]
    assert (part[24, 5:23] == 0).all() and (part[24, 25:43] == 1).all()


def test_order_of_meshes_does_not_matter_for_what_is_seen() -> None:
    near, far = flat(10.5, 10.5, 30.5, 30.5, 1.0, RED), flat(15.5, 15.5, 40.5, 40.5, 2.0, GREEN)
    assert same(render([scene(near, far)]).image, render([scene(far, near)]).image)


def test_texture_is_perspective_correct_upright_and_unmirrored() -> None:
    steps = torch.arange(256, dtype=torch.uint8)
    texture = torch.zeros(256, 256, 4, dtype=torch.uint8)
    texture[..., 0], texture[..., 1] = steps, steps[:, None]
    texture[..., 3] = 255
    corners = [[-0.5, -0.5, 1.0], [-0.5, 0.5, 1.0], [0.5, 0.5, 3.0], [0.5, -0.5, 3.0]]
    picture = render([scene(quad(corners, texture))], 1)
    row, column = 22, torch.arange(8, 27)
    assert (picture.part[0, row, 8:27] == 0).all()
    # ray x = (column - c) / f meets the plane z = 2 + 2 x'
    ray = (column - 23.5) / 40
    x = 2 * ray / (1 - 2 * ray)
    z = 2 + 2 * x
    assert (picture.depth[0, row, 8:27] - z).abs().max() < 1e-4
    u, v = x + 0.5, (row - 23.5) / 40 * z + 0.5
    seen = picture.image[0, row, 8:27].float()
    assert (seen[:, 0] - (u * 256 - 0.5)).abs().max() < 1.5
    assert (seen[:, 1] - (v * 256 - 0.5)).abs().max() < 1.5


def test_back_faces_are_left_out_unless_two_sided() -> None:
    front = flat(10.5, 10.5, 30.5, 30.5, 1.0, RED)
    back = replace(front, triangles=front.triangles[:, [0, 2, 1]])
    assert (render([scene(back)]).part == -1).all()
    assert (render([scene(replace(back, material=replace(UNLIT, two_sided=True)))]).part == 0).any()


def test_two_sided_back_faces_are_lit_like_fronts() -> None:
    matt = Material(specular=0.0, two_sided=True)
    front = flat(10.5, 10.5, 30.5, 30.5, 1.0, WHITE, matt)
    back = replace(front, triangles=front.triangles[:, [0, 2, 1]], uv=front.uv[:, [0, 2, 1]])
    assert same(render([scene(front)]).image, render([scene(back)]).image)


def test_cutout_shows_as_much_as_the_texture_is_opaque() -> None:
    hair = Material(unlit=True, cutout=True)
    for alpha, share in ((0, 0.0), (64, 0.25), (128, 0.5), (255, 1.0)):
        texture = one_colour(255, 255, 255, alpha)
        picture = render([scene(flat(-1, -1, 50, 50, 1.0, texture, hair))])
        linear = decode_srgb(picture.image[..., 0])
        grey = float(decode_srgb(torch.tensor([float(GREY)])))
        assert abs(float(linear.mean() - grey) / (1 - grey) - share) < 0.03
    solid = flat(-1, -1, 50, 50, 1.0, one_colour(255, 255, 255, 0))
    assert (render([scene(solid)]).image == 255).all()


def test_the_nearest_sheet_is_blended_smoothly() -> None:
    veil = flat(-1, -1, 50, 50, 1.0, one_colour(255, 255, 255, 128),
                Material(unlit=True, cutout=True))
    picture = render([scene(flat(-1, -1, 50, 50, 2.0, RED), veil)])
    red, white = decode_srgb(RED[0, 0, :3]), torch.ones(3)
    expected = encode_srgb(red + (white - red) * (128 / 255)).long()
    assert (picture.image.long() - expected).abs().max() <= 1
    assert (picture.part == 1).all() and (picture.depth - 1).abs().max() < 1e-5


def test_the_opacity_of_many_sheets_follows_from_their_combined_transmittance() -> None:
    hair = Material(unlit=True, cutout=True)
    veils = [flat(-1, -1, 50, 50, z, one_colour(255, 255, 255, 85), hair) for z in (1, 1.2, 1.4)]
    linear = decode_srgb(render([scene(*veils)]).image[..., 0])
    grey = float(decode_srgb(torch.tensor([float(GREY)])))
    assert abs(float(linear.mean() - grey) / (1 - grey) - (1 - (2 / 3) ** 3)) < 0.03


def test_what_lies_behind_shows_through_a_cutout_hole() -> None:
    texture = WHITE.repeat(2, 2, 1)
    texture[:, 0, 3] = 0
    veil = flat(7.5, 7.5, 39.5, 39.5, 1.0, texture, Material(unlit=True, cutout=True))
    part = render([scene(flat(7.5, 7.5, 39.5, 39.5, 2.0, RED), veil)]).part[0]
    assert (part[8:40, 8:15] == 0).all() and (part[8:40, 33:40] == 1).all()


@pytest.mark.parametrize('angle', [0.0, 0.3, 1.1])
def test_shared_edges_have_neither_cracks_nor_double_coverage(angle: float) -> None:
    n = 37
    generator = torch.Generator().manual_seed(3)
    across = torch.linspace(-1.5, 1.5, n)
    grid = torch.stack([*torch.meshgrid(across, across, indexing='xy'), torch.ones(n, n)], -1)
    grid[1:-1, 1:-1, :2] += (torch.rand(n - 2, n - 2, 2, generator=generator) - 0.5) * 0.07
    grid[..., 2] += torch.rand(n, n, generator=generator) * 0.02
    turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0],
                         [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    i = torch.arange(n * (n - 1)).view(n - 1, n)[:, :-1].flatten()
    triangles = torch.cat(
        [torch.stack([i, i + 1 + n, i + n], 1), torch.stack([i, i + 1, i + 1 + n], 1)])
    triangles = triangles[:, [0, 2, 1]]
    uv = torch.full((len(triangles), 3, 2), 0.5)
    mesh = Mesh(grid.view(-1, 3) @ turn.T, triangles, uv, WHITE, replace(UNLIT, two_sided=True))
    for oversampling in (2, 3):
        picture = render([scene(mesh)], oversampling)
        assert (picture.image == 255).all() and (picture.part == 0).all()


def test_a_batch_equals_single_renderings_to_the_last_bit() -> None:
    scenes = crowd()
    alone = [render([one]) for one in scenes]
    for batch_size in (1, 2, 4):
        batch = render(scenes, batch_size=batch_size)
        for i, one in enumerate(alone):
            assert same(batch.image[i], one.image[0])
            assert same(batch.part[i], one.part[0]) and same(batch.depth[i], one.depth[0])


def test_threads_do_not_change_a_bit() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = render(crowd(), batch_size=4)
        torch.set_num_threads(3)
        many = render(crowd(), batch_size=4)
    finally:
        torch.set_num_threads(before)
    assert same(one.image, many.image) and same(one.depth, many.depth)


def test_an_empty_scene_is_its_background() -> None:
    background = torch.randint(
        0, 256, (SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = render([replace(scene(), background=background)])
    assert same(picture.image[0], background)
    assert (picture.part == -1).all() and picture.depth.isinf().all()


def test_what_cannot_be_seen_is_left_out() -> None:
    point = quad([[0, 0, 1]] * 4, RED)
    behind = flat(9.5, 9.5, 29.5, 29.5, -1.0, RED, replace(UNLIT, two_sided=True))
    through = quad([[-1, -1, -1], [-1, 1, -1], [1, 1, 3], [1, -1, 3]], RED)
    beside = flat(200, 200, 300, 300, 1.0, RED)
    broken = quad([[float('nan')] * 3] * 4, RED)
    assert (render([scene(point, behind, through, beside, broken)]).part == -1).all()


def test_brightness_rises_towards_the_light() -> None:
    ball = sphere(Material(specular=0.0))
    row = render([scene(ball, lighting=light((1, 0, 0)))]).image[0, 24, :, 0].long()
    lit = render([scene(ball)]).part[0, 24] == 0
    inside = row[lit][2:-2]
    assert (inside.diff() >= -1).all() and inside[-1] > inside[0] + 80


def test_wrap_bleeds_red_over_the_terminator() -> None:
    dark = light((1, 0, 0), ambient=0.0)
    hard = render([scene(sphere(Material(specular=0.0)), lighting=dark)]).image[0, 24, 21]
    soft = render([scene(sphere(Material(specular=0.0, wrap=0.3)), lighting=dark)]).image[0, 24, 21]
    assert hard.max() == 0 and soft[0] > soft[1] > soft[2] and soft[0] > 20


def test_highlight_lies_between_light_and_camera() -> None:
    ball = sphere(Material(specular=0.5, roughness=0.3), texture=one_colour(0, 0, 0))
    picture = render([scene(ball, lighting=light((1, 0, -1), ambient=0.0))]).image[0, :, :, 1]
    peak = int(picture.flatten().long().argmax())
    # the normal halfway is 22.5 degrees to the right: 0.115 m of 0.3 m, at 0.72 m
    assert abs(peak // SIZE - 23.5) < 1.1 and abs(peak % SIZE - (23.5 + 40 * 0.115 / 0.72)) < 1.6


def test_an_unlit_mesh_shows_its_texture_in_any_light() -> None:
    mesh = flat(9.5, 9.5, 29.5, 29.5, 1.0, RED)
    pictures = render([scene(mesh, sphere(Material(), (0.3, 0, 1), 0.1), lighting=light(colour=c))
                       for c in (0.0, 5.0)]).image
    assert same(pictures[0, 12:28, 12:28], pictures[1, 12:28, 12:28])


def test_shadow_falls_where_the_first_light_is_hidden() -> None:
    matt = Material(specular=0.0)
    wall = flat(-20, -20, 68, 68, 1.0, WHITE, matt)
    ball = sphere(matt, (0, 0, 0.7), 0.05)
    # light from the left: the shadow lies 0.3 m to the right on the wall, at column 23.5 + 12
    shaded = render([scene(wall, ball, lighting=light((-1, 0, -1), shadows=True))])
    free = render([scene(wall, ball, lighting=light((-1, 0, -1)))])
    darker = (free.image[0, :, :, 0].long() - shaded.image[0, :, :, 0].long()) > 20
    darker &= shaded.part[0] == 0
    row, column = darker.nonzero().float().mean(0)
    assert abs(row - 23.5) < 1 and abs(column - 35.5) < 1.5
    assert not darker[:, :28].any() and (free.image[0, 5] == shaded.image[0, 5]).all()


def test_normals_of_a_sphere_point_outwards() -> None:
    ball = sphere(Material(), (0, 0, 0), 1.0)
    normals = vertex_normals(batch_meshes([[ball]], 'cpu')).T
    inner = slice(80, -80)
    assert (normals[inner] * ball.vertices[inner]).sum(1).min() > 0.999


def test_occlusion_darkens_the_environment_only() -> None:
    mesh = flat(9.5, 9.5, 29.5, 29.5, 1.0, WHITE, Material(specular=0.0))
    half = replace(mesh, occlusion=torch.full((4,), 0.5))
    ambient = light(colour=0.0, ambient=0.6)
    full, less = (
        decode_srgb(render([scene(m, lighting=ambient)]).image[0, 20, 20].float())
        for m in (mesh, half))
    assert (less / full - 0.5).abs().max() < 0.02
    direct = light(ambient=0.0)
    assert same(render([scene(mesh, lighting=direct)]).image,
                render([scene(half, lighting=direct)]).image)


def test_irradiance_of_a_constant_environment_is_constant() -> None:
    colour = torch.tensor([0.2, 0.5, 1.5])
    found = environment_irradiance(colour.expand(128, 256, 3).contiguous())
    assert (found - constant_irradiance(colour)).abs().max() < 1e-3


def test_irradiance_turns_with_the_environment() -> None:
    panorama = torch.rand(64, 128, 3, generator=torch.Generator().manual_seed(0)) ** 4
    angle = torch.tensor(0.7)
    turn = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    turned = environment_irradiance(panorama, turn)
    assert (turned - rotate_irradiance(environment_irradiance(panorama), turn)).abs().max() < 1e-4


def test_a_bright_place_lights_what_faces_it() -> None:
    panorama = torch.full((64, 128, 3), 0.05)
    panorama[30:34, 94:98] = 20.0  # the right quarter: +x
    irradiance = environment_irradiance(panorama)
    right, left = (
        float((irradiance[:, 0] * spherical_harmonics(torch.tensor([x, 0.0, 0.0]))).sum())
        for x in (1, -1)
    )
    assert right > left + 0.05
    towards, colour, rest = extract_sun(panorama)
    assert towards[0] > 0.999 and colour.min() > 0 and rest.max() < 0.1
    # the light that was taken out and the rest make the whole
    y = spherical_harmonics(torch.tensor([1.0, 0.0, 0.0]))
    whole = float(((environment_irradiance(rest)[:, 0]) * y).sum() + colour[0])
    assert abs(whole - right) < 0.15 * right


def test_colours_survive_decoding_and_encoding() -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    assert same(encode_srgb(decode_srgb(codes)), codes)
    assert same(decode_srgb(codes), decode_srgb(codes.float()))


def test_halved_textures_keep_their_mean() -> None:
    texture = torch.randint(
        0, 256, (64, 32, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    small = TextureAtlas.from_textures([texture], [2]).texels.view(torch.uint8).view(-1, 4).float()
    assert small.shape == (128, 4)
    wanted = texture.float().view(16, 4, 8, 4, 4).mean((1, 3)).view(-1, 4)
    assert (small - wanted).abs().max() <= 2 and (small - wanted).mean().abs() < 0.5


@pytest.mark.parametrize(('change', 'named'), [
    ({'background': torch.zeros(4, 4, 3)}, 'background'),
    ({'K': torch.eye(2)}, 'K'),
    ({'lighting': Lighting(torch.zeros(4, 3), torch.zeros(0, 3), torch.zeros(0, 3))}, 'irradiance'),
    ({'lighting': Lighting(torch.zeros(9, 3), torch.zeros(2, 3), torch.zeros(1, 3))}, 'directions'),
])
def test_a_wrong_scene_is_named(change: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        render([replace(scene(), **change)])


def test_a_wrong_mesh_or_call_is_named() -> None:
    mesh = flat(0, 0, 1, 1, 1.0, RED)
    with pytest.raises(ValueError, match='texture'):
        replace(mesh, texture=torch.zeros(2, 2, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match='scenes'):
        render([])
    with pytest.raises(ValueError, match='oversampling'):
        render([scene()], oversampling=0)
    with pytest.raises(ValueError, match='size'):
        render([scene(), replace(scene(), background=torch.zeros(4, 4, 3, dtype=torch.uint8))])
