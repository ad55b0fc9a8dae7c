"""Every configuration says what each of its fields means."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

import pytest

from trans3dhead_ros.field_docs import field_docs
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.perception.metric_pose import PoseNoise
from trans3dhead_ros.perception.pipeline import PipelineConfig
from trans3dhead_training.engine.config import DetectorTrainConfig, TrainConfig
from trans3dhead_training.update.update_config import UpdateConfig

ROOTS = (PipelineConfig, NetworkConfig, PoseNoise, TrainConfig, DetectorTrainConfig, UpdateConfig)


def nested(config: type) -> Iterator[type]:
    """Yield a configuration dataclass and those of its fields, at any depth."""
    yield config
    for hint in get_type_hints(config).values():
        for kind in (hint, *get_args(hint)):
            if is_dataclass(kind):
                yield from nested(kind)


CONFIGURATIONS = sorted({kind for root in ROOTS for kind in nested(root)},
                        key=lambda kind: kind.__name__)


def test_the_parts_of_a_configuration_are_found():
    names = {kind.__name__ for kind in CONFIGURATIONS}
    assert names >= {'PipelineConfig', 'Tracking', 'Smoothing', 'HeadSize', 'NetworkConfig',
                     'TrainConfig', 'Augmentation', 'LossWeights', 'PartShares', 'DetectorConfig',
                     'DetectionSampling', 'ViewConfig', 'LightConfig'}


@pytest.mark.parametrize('config', CONFIGURATIONS, ids=lambda kind: kind.__name__)
def test_every_field_is_described_by_the_string_below_it(config):
    missing = {entry.name for entry in fields(config)} - field_docs(config).keys()
    assert not missing, f'{config.__name__}: no string below {", ".join(sorted(missing))}'


@pytest.mark.parametrize('config', CONFIGURATIONS, ids=lambda kind: kind.__name__)
def test_every_configuration_is_frozen(config):
    assert config.__dataclass_params__.frozen
