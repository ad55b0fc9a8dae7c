"""Parameters set at random, inside and outside their ranges."""

from __future__ import annotations

import math

import numpy as np
from rcl_interfaces.msg import Parameter, ParameterDescriptor, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from tqdm import tqdm

from tools.soak.camera import CameraProcess
from tools.soak.stage import Stage
from tools.soak.watch import Outcome

_NODE = 'head_tracker/'
_FIELDS = {ParameterType.PARAMETER_BOOL: 'bool_value',
           ParameterType.PARAMETER_INTEGER: 'integer_value',
           ParameterType.PARAMETER_DOUBLE: 'double_value',
           ParameterType.PARAMETER_STRING: 'string_value'}
_WORDS = ('', 'x', 'ä b', '/', '../..', 'n' * 10_000, 'auto', 'TRUE')
# Settings between two valid images.
_EACH = 10


def settings(stage: Stage, size: int, seed: int = 0) -> Outcome:
    """
    Set parameters at random, according to their descriptors, while a camera publishes images.

    Values outside the ranges must be refused with a reason, values inside accepted; after restoring
    the initial values, a valid image must be processed.

    :param stage: the tracker and its clients.
    :param size: number of settings.
    :param seed: of the random choices.
    :return: the outcome.
    """
    outcome = Outcome('parameters at random')
    random = np.random.default_rng(seed)
    stage.wait()
    described = _describe(stage)
    first = {name: value for name, (descriptor, value) in described.items()
             if not descriptor.read_only}
    counts = {'taken': 0, 'refused': 0}
    with CameraProcess('raw/image_raw', rate=10.0):
        for index in tqdm(range(size), desc='parameters at random', disable=None):
            name = str(random.choice(list(described)))
            descriptor, was = described[name]
            value, inside = _value(descriptor, was, random)
            result = stage.raw.call(SetParameters, f'{_NODE}set_parameters', SetParameters.Request(
                parameters=[Parameter(name=name, value=value)])).results[0]
            counts['taken' if result.successful else 'refused'] += 1
            shown = f'{name} = {getattr(value, _FIELDS.get(value.type, "type"))!r:.60}'
            # Which strings are allowed, only the node knows.
            outcome.demand(inside is None or result.successful == inside,
                           f'{shown} was {"refused: " + result.reason if inside else "taken"}')
            outcome.demand(result.successful or bool(result.reason), f'{shown}: no reason')
            if index % _EACH == _EACH - 1 or index == size - 1:
                restored = stage.raw.call(
                    SetParametersAtomically, f'{_NODE}set_parameters_atomically',
                    SetParametersAtomically.Request(parameters=[
                        Parameter(name=name, value=value) for name, value in first.items()]))
                outcome.demand(restored.result.successful,
                               f'first values refused: {restored.result.reason}')
                stage.must_see(outcome, f'after {index + 1} settings', stage.packed)
            if not stage.alive():
                break
    outcome.demand(stage.alive(), 'the tracker died')
    outcome.figures |= {'parameters': len(described), 'settings': size, **counts}
    return outcome


def _describe(stage: Stage) -> dict[str, tuple[ParameterDescriptor, ParameterValue]]:
    """Return descriptor and value of every parameter of one plain value."""
    names = stage.raw.call(
        ListParameters, f'{_NODE}list_parameters', ListParameters.Request()).result.names
    descriptors = stage.raw.call(DescribeParameters, f'{_NODE}describe_parameters',
                                 DescribeParameters.Request(names=names)).descriptors
    values = stage.raw.call(
        GetParameters, f'{_NODE}get_parameters', GetParameters.Request(names=names)).values
    # Leaves out parameters of ROS itself: simulated time, and QoS overrides of publishers.
    return {descriptor.name: (descriptor, value)
            for descriptor, value in zip(descriptors, values, strict=True)
            if descriptor.description and value.type in _FIELDS
            and not descriptor.name.startswith(('qos_overrides', 'use_sim_time'))}


def _value(descriptor: ParameterDescriptor, was: ParameterValue, random: np.random.Generator,
           ) -> tuple[ParameterValue, bool | None]:
    """Return a value, and whether it must be accepted; None if the descriptor does not tell."""
    value, kind = ParameterValue(type=was.type), random.integers(4)
    if kind == 0 and not descriptor.dynamic_typing:
        # Of another type than the parameter has.
        value.type = int(random.choice([one for one in _FIELDS if one != was.type]))
        return value, False
    inside: bool | None = None
    ranges = list(descriptor.integer_range) or list(descriptor.floating_point_range)
    if ranges:
        low, high = ranges[0].from_value, ranges[0].to_value
        whole = was.type == ParameterType.PARAMETER_INTEGER
        inside = bool(kind % 2)
        if inside:
            number = random.choice([low, high, low + (high - low) * random.random() ** 3])
        else:
            number = random.choice([low - 1, high + 1, -1e12, 1e12, *(
                () if whole else (math.nan, math.inf, -math.inf))])
        setattr(value, _FIELDS[was.type], int(number) if whole else float(number))
    elif was.type == ParameterType.PARAMETER_BOOL:
        value.bool_value, inside = bool(random.integers(2)), True
    elif was.type == ParameterType.PARAMETER_STRING:
        allowed = descriptor.additional_constraints.removeprefix('one of: ').split(', ')
        value.string_value = str(random.choice([*_WORDS, *(word.strip("'") for word in allowed)]))
    return value, False if descriptor.read_only else inside
