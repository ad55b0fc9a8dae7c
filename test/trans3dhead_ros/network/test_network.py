"""The network: query-aware memory, references, switches, budget, and no device of its own."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.network.attention import Attention, QueryAwareMemory
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.network.queries import POINT_COUNT, ParameterLayout

SMALL = NetworkConfig(input_size=32, widths=(8, 8, 8, 16), blocks=(1, 1, 1), dim=16, num_heads=2,
                      ffn_dim=32)


def small_head(vertices: int = 100, shapes: int = 4, expressions: int = 3) -> HeadModule:
    generator = torch.Generator().manual_seed(0)
    mean = 0.05 * torch.randn(vertices, 3, generator=generator)
    return HeadModule(
        mean, 0.003 * torch.randn(shapes, vertices, 3, generator=generator),
        0.003 * torch.randn(expressions, vertices, 3, generator=generator),
        torch.tensor([[0, 1, 2]]), torch.arange(68), torch.arange(17 * 4).reshape(17, 4),
        [f'e{i}' for i in range(expressions)])


def build(**changes: object) -> Trans3DHead:
    torch.manual_seed(1)
    return Trans3DHead(replace(SMALL, **changes), small_head()).eval()


def crops(count: int = 2, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(2))


def randomised(network: Trans3DHead) -> Trans3DHead:
    """Move every weight away from its start, where residuals are zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def naive_attention(attention: Attention, queries: torch.Tensor, tokens: torch.Tensor,
                    weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attention with a memory built for every query: weight (N, h, e, f), bias (N, h, f)."""
    heads, count = attention.num_heads, queries.shape[1]
    outputs = []
    for n in range(count):
        q = attention.q_proj(queries[:, n]).unflatten(-1, (heads, -1))
        k = attention.k_proj(tokens).unflatten(-1, (heads, -1))
        values = attention.v_proj(tokens).unflatten(-1, (heads, -1))
        memory = torch.einsum('bmhe,hef->bmhf', values, weight[n]) + bias[n]
        logits = torch.einsum('bhe,bmhe->bmh', q, k) / q.shape[-1] ** 0.5
        outputs.append((logits.softmax(1)[..., None] * memory).sum(1).flatten(1))
    return attention.out_proj(torch.relu(torch.stack(outputs, 1)))


@pytest.mark.parametrize('heads', [1, 4])
def test_memory_applied_after_attention_equals_a_memory_per_query(heads):
    torch.manual_seed(0)
    dim, count = 16, 5
    memory = QueryAwareMemory('per_head', count, dim, heads, (0,) * count)
    torch.nn.init.normal_(memory.linear.weight)
    torch.nn.init.normal_(memory.linear.bias)
    attention = Attention(dim, heads, memory)
    queries, tokens = torch.randn(2, count, dim), torch.randn(2, 9, dim)
    weight = memory.linear.weight.unflatten(0, (count, heads))
    bias = memory.linear.bias.unflatten(0, (count, heads))
    naive = naive_attention(attention, queries, tokens, weight, bias)
    assert torch.allclose(attention(queries, tokens, tokens), naive, atol=1e-5)


def test_every_query_has_its_own_memory():
    torch.manual_seed(0)
    memory = QueryAwareMemory('per_head', 2, 8, 2, (0, 0))
    torch.nn.init.normal_(memory.linear.weight)
    attention = Attention(8, 2, memory)
    query = torch.randn(1, 1, 8).expand(1, 2, 8)
    first, second = attention(query, tokens := torch.randn(1, 6, 8), tokens)[0]
    assert not torch.allclose(first, second)


def test_query_aware_memory_starts_as_plain_attention():
    torch.manual_seed(0)
    memory = QueryAwareMemory('per_head', 2, 8, 2, (0, 0))
    attended = torch.rand(3, 2, 8)
    assert torch.allclose(memory.before_projection(attended), attended)


def test_grouped_queries_estimate_every_parameter_once():
    network = build(parameter_queries='grouped')
    indices = network.parameter_indices.tolist()
    assert len(set(indices)) == len(indices) == network.layout.count
    with torch.no_grad():
        # One query, that of the rotation: nothing else moves with it.
        network.parameter_residuals[-1].output.bias[0] += 1.0
    moved = network.forward_layers(crops()).parameters[-1] - network.mean_parameters
    assert (moved[:, :6] == 1.0).all()
    assert (moved[:, 6:] == 0.0).all()


def test_jaw_queries_estimate_the_contour_where_it_has_no_queries():
    network = build(contour_queries=False)
    outputs = network.forward_layers(crops())
    with torch.no_grad():
        network.point_residuals[-1].output.bias[3] += torch.tensor([0.0, 0.0, 0.5, 0.25])
    moved = network.forward_layers(crops()).points[-1] - outputs.points[-1]
    assert torch.allclose(moved[:, 68 + 3], torch.tensor([0.5, 0.25]), atol=1e-6)
    moved[:, 68 + 3] = 0.0
    assert (moved == 0.0).all()


def test_shapes_of_the_prediction():
    prediction = build()(crops())
    shapes = {field.name: tuple(getattr(prediction, field.name).shape)
              for field in fields(prediction)}
    assert shapes == {
        'landmarks': (2, 68, 2), 'contour': (2, 17, 2), 'landmark_scale': (2, 85),
        'rotation': (2, 3, 3), 'translation': (2, 2), 'log_scale': (2,), 'shape': (2, 4),
        'expression': (2, 3), 'score': (2,)}
    assert (prediction.landmark_scale > 0).all()
    assert torch.allclose(torch.linalg.det(prediction.rotation), torch.ones(2))


def test_an_untrained_network_predicts_the_posed_mean_head():
    network = build()
    network.mean_parameters[8] = 2.0
    prediction = network(crops(1))
    head = network.head_model
    facing = torch.from_numpy(FACING_CAMERA).float()
    expected = np.exp(2.0) * (head.mean[head.landmark_indices] @ facing.T)[:, :2]
    assert torch.allclose(prediction.landmarks[0], expected, atol=1e-5)
    assert torch.allclose(prediction.rotation[0], facing, atol=1e-6)


def test_the_mean_reference_starts_at_the_average_points():
    network = build(reference='mean')
    network.mean_points.copy_(torch.rand(POINT_COUNT, 2))
    assert torch.allclose(network(crops(1)).landmarks[0], network.mean_points[:68])


def test_landmark_losses_have_no_gradient_through_the_reference():
    network = randomised(build())
    outputs = network.forward_layers(crops())
    outputs.points[-1].sum().backward()
    assert all(p.grad is None for p in network.parameter_residuals.parameters())


def test_layers_add_up_only_with_marr():
    with_marr, without = (randomised(build(marr=marr)) for marr in (True, False))
    without.load_state_dict(with_marr.state_dict())
    image = crops()
    added, alone = with_marr.forward_layers(image), without.forward_layers(image)
    assert torch.allclose(added.parameters[0], alone.parameters[0])
    first_residual = added.parameters[0] - with_marr.mean_parameters
    assert torch.allclose(added.parameters[1] - first_residual, alone.parameters[1], atol=1e-6)


@pytest.mark.parametrize('changes', [
    {'qamem': 'none'}, {'qamem': 'full'}, {'qamem': 'family'}, {'marr': False},
    {'reference': 'mean'}, {'pool': 'mean'}, {'value_position': False},
    {'encoder_layers': 1}, {'decoder_layers': 1}, {'decoder_layers': 4},
    {'parameter_queries': 'grouped'}, {'contour_queries': False}, {'content_rank': 2},
    {'embed_estimates': True}, {'embed_estimates': True, 'two_branches': False},
    {'parameter_queries': 'grouped', 'contour_queries': False, 'content_rank': 2,
     'embed_estimates': True, 'two_branches': False},
    {'two_branches': False}, {'input_size': 64, 'stride': 32, 'widths': (8, 8, 8, 8, 16),
                              'blocks': (1, 1, 1, 1)}])
def test_every_part_can_be_switched_and_trains(changes):
    network = randomised(build(**changes))
    outputs = network.forward_layers(crops(2, network.config.input_size))
    assert len(outputs.points) == len(outputs.parameters) == network.config.decoder_layers
    loss = sum(x.square().mean() for x in (*outputs.points, *outputs.parameters, outputs.score))
    (loss + outputs.point_scale.mean()).backward()
    # A reference that nothing looks at has no gradient: the mean face needs no place.
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert set(unused) <= {'reference_projection.weight', 'reference_projection.bias'}
    if network.config.two_branches:
        assert not unused


def test_the_whole_network_moves_to_its_device():
    with torch.device('meta'):
        network = Trans3DHead(NetworkConfig(), small_head())
    image = torch.empty(2, 3, 128, 128, device='meta')
    prediction = network.eval()(image)
    assert all(getattr(prediction, field.name).is_meta for field in fields(prediction))


def test_no_tensor_is_made_on_the_default_device_in_a_forward_pass():
    network = build().to('meta')
    outputs = network.forward_layers(torch.empty(2, 3, 32, 32, device='meta'))
    assert all(x.is_meta for x in (*outputs.points, *outputs.parameters, outputs.score))


def test_configuration_survives_json():
    config = NetworkConfig(qamem='family', widths=(8, 16, 24, 32))
    values = config.to_dict()
    values['widths'] = list(values['widths'])
    assert NetworkConfig.from_dict(values) == config


@pytest.mark.parametrize(('changes', 'named'), [
    ({'qamem': 'some'}, 'qamem'), ({'reference': 'x'}, 'reference'),
    ({'num_heads': 5}, 'num_heads'), ({'num_heads': 0}, 'num_heads'),
    ({'input_size': 100}, 'input_size'), ({'widths': (8, 8)}, 'widths'), ({'stride': 8}, 'stride'),
    ({'decoder_layers': 0}, 'decoder_layers'), ({'crop_scale': 0.0}, 'crop_scale')])
def test_a_wrong_configuration_is_named(changes, named):
    with pytest.raises(ValueError, match=named):
        NetworkConfig(**changes)


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match='colour'):
        NetworkConfig.from_dict({'colour': 1})


def test_crops_of_another_size_are_refused():
    with pytest.raises(ValueError, match='crops'):
        build()(crops(1, 64))


def test_parameter_layout_covers_every_parameter_once():
    layout = ParameterLayout(4, 3)
    parts = layout.split(torch.arange(layout.count))
    assert torch.cat(list(parts.values())).tolist() == list(range(layout.count))
    assert layout.count == 6 + 2 + 1 + 4 + 3


@pytest.mark.parametrize('changes', [
    {'qamem': 'none'}, {'qamem': 'full'}, {'qamem': 'family'}, {'two_branches': False},
    {'encoder_layers': 1}, {'pool': 'mean'}, {'marr': False}, {'reference': 'mean'},
    {'parameter_queries': 'grouped', 'contour_queries': False, 'content_rank': 2,
     'embed_estimates': True, 'two_branches': False},
    {'stride': 32, 'widths': (8, 8, 8, 16, 16), 'blocks': (1, 1, 1, 1)}])
def test_every_form_of_the_method_survives_its_checkpoint(changes, tmp_path):
    network = randomised(build(**changes))
    save_checkpoint(tmp_path / 'form.safetensors', network, {})
    loaded, _ = load_checkpoint(tmp_path / 'form.safetensors', torch.device('cpu'))
    with torch.inference_mode():
        expected, answer = network(crops()), loaded(crops())
    torch.testing.assert_close(answer.landmarks, expected.landmarks, atol=2e-2, rtol=2e-2)
