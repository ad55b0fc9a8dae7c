"""The front of speed and error: what is on it, and which run an error is from."""

import json

from benchmarks.speed_front import VARIANTS, error_of, on_front, table
from trans3dhead_ros.network.config import NetworkConfig


def row(time, error):
    return {'weights': 1_300_000, 'multiply_adds': 100e6, 'time': [time, time, time],
            'training': [1.0, 1.0, 1.0], 'error': error}


def test_a_network_that_another_one_beats_in_both_is_not_on_the_front():
    rows = {'fast': row(0.5, 3.0), 'good': row(0.9, 2.0), 'beaten': row(0.9, 2.5),
            'equal': row(0.9, 2.0), 'unknown': row(0.1, None)}
    assert on_front(rows) == {'fast', 'good', 'equal'}
    marked = [line for line in table(rows).splitlines() if line.endswith('* |')]
    assert len(marked) == 3 and '| unknown | 1.30 | 100 | 0.10' in table(rows)


def test_an_error_is_that_of_the_run_with_the_network_after_the_time(tmp_path):
    joint, other = (json.loads(json.dumps(NetworkConfig(dim=dim).to_dict())) for dim in (96, 48))
    for name, network in (('other', other), ('joint', joint)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'config.json').write_text(json.dumps({'network': network}))
        (tmp_path / name / 'metrics.csv').write_text(
            f'step,minutes,inner51_percent\n10,5.0,4.0\n20,15.0,{len(name)}.5\n30,25.0,2.0\n')
    runs = [tmp_path / 'other', tmp_path / 'joint']
    assert error_of(joint, runs, 20.0, 'inner51_percent') == 5.5
    assert error_of(joint, runs, 30.0, 'inner51_percent') == 2.0
    assert error_of(joint, runs, 1.0, 'inner51_percent') is None
    assert error_of({**joint, 'dim': 24}, runs, 20.0, 'inner51_percent') is None


def test_every_variant_is_a_network():
    for changes in VARIANTS.values():
        NetworkConfig(**{'dim': 64, 'num_heads': 8, 'ffn_dim': 128, **changes})
