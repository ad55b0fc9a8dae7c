"""Random facial expressions, as plausible combinations of expression coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.people.person import MAX_GAZE_DEG

_LARGEST = {'jawOpen': 1.0, 'mouthClose': 0.6, 'jawLeft': 0.6, 'jawRight': 0.6}


def expression_coefficients(weights: Mapping[str, float], names: Sequence[str]) -> Array:
    """
    Return the coefficients (E,) of expressions given by name, clamped to their limits.

    :param weights: coefficients by name; the others are 0.
    :param names: the order of the coefficients.
    :return: (E,).
    :raises ValueError: a name is not among `names`.
    """
    unknown = set(weights) - set(names)
    if unknown:
        raise ValueError(f'expression: unknown {", ".join(sorted(unknown))}')
    return np.array([np.clip(weights.get(name, 0.0), 0.0, _LARGEST.get(name, 1.0))
                     for name in names])


def gaze_expression(left_deg: float, up_deg: float) -> dict[str, float]:
    """Return the coefficients of eyes and lids that look to the person's left and up."""
    left = left_deg / MAX_GAZE_DEG['Out']
    weights = {'eyeLookOut_L': max(left, 0.0), 'eyeLookIn_R': max(left, 0.0),
               'eyeLookIn_L': max(-left, 0.0), 'eyeLookOut_R': max(-left, 0.0)}
    for side in 'LR':
        weights[f'eyeLookUp_{side}'] = max(up_deg / MAX_GAZE_DEG['Up'], 0.0)
        weights[f'eyeLookDown_{side}'] = max(-up_deg / MAX_GAZE_DEG['Down'], 0.0)
    return weights


def sample_expression(generator: np.random.Generator, names: Sequence[str]) -> Array:
    """
    Return a random expression: eyes, mouth and brows are independent, most of them moderate.

    Closed eyes and open mouths are far more frequent than in photographs, where they are too rare
    to be learned.

    :param generator: source of the choices.
    :param names: the documented expressions, in the order of the coefficients.
    :return: (53,) coefficients 0…1.
    """
    weights = {} if generator.random() < 0.4 else gaze_expression(*generator.normal(0, [11.0, 7.0]))
    for part in (_draw_eyes, _draw_mouth, _draw_brows):
        for name, value in part(generator).items():
            weights[name] = weights.get(name, 0.0) + value
    # A slight random activation of everything but the eyes.
    for name in names:
        if not name.startswith('eye') and generator.random() < 0.15:
            weights[name] = weights.get(name, 0.0) + abs(generator.normal(0, 0.08))
    return expression_coefficients(weights, names)


def _both(name: str, value: float, generator: np.random.Generator) -> dict[str, float]:
    """Return a coefficient of both sides, slightly asymmetric."""
    return {f'{name}_{side}': value * float(np.clip(generator.normal(1, 0.12), 0.5, 1.4))
            for side in 'LR'}


def _draw_eyes(generator: np.random.Generator) -> dict[str, float]:
    kind = generator.choice(5, p=[0.50, 0.24, 0.10, 0.08, 0.08])
    if kind == 0:
        return _both('eyeBlink', abs(generator.normal(0, 0.10)), generator)
    if kind == 1:  # closed or nearly so
        value = generator.choice([1.0, generator.uniform(0.5, 1.0)], p=[0.6, 0.4])
        squint = generator.uniform(0, 0.5) * (generator.random() < 0.3)
        closed = dict.fromkeys(('eyeBlink_L', 'eyeBlink_R'), float(value))
        return closed | _both('eyeSquint', squint, generator)
    if kind == 2:  # a wink
        side = generator.choice(['L', 'R'])
        strength = generator.uniform(0.2, 0.8)
        return {f'eyeBlink_{side}': 1.0, f'cheekSquint_{side}': strength,
                f'mouthSmile_{side}': 0.5 * strength * generator.random()}
    if kind == 3:
        return _both('eyeWide', generator.uniform(0.3, 1.0), generator)
    return _both('eyeSquint', generator.uniform(0.4, 1.0), generator) | _both(
        'eyeBlink', generator.uniform(0.1, 0.4), generator)


def _draw_mouth(generator: np.random.Generator) -> dict[str, float]:
    kind = generator.choice(9, p=[0.24, 0.20, 0.20, 0.08, 0.06, 0.06, 0.06, 0.06, 0.04])
    strong = generator.uniform(0.3, 1.0)
    jaw = strong * generator.beta(1.2, 2.0)
    if kind == 0:
        return {'jawOpen': 0.12 * generator.random() * (generator.random() < 0.4)}
    if kind == 1:  # a smile, with the cheeks
        return (_both('mouthSmile', strong, generator)
                | _both('cheekSquint', 0.6 * strong * generator.random(), generator)
                | _both('mouthUpperUp', 0.35 * strong * generator.random(), generator)
                | {'jawOpen': 0.45 * jaw})
    if kind == 2:  # talk
        return ({'jawOpen': 0.7 * jaw, 'mouthFunnel': 0.5 * generator.beta(1, 2.5)}
                | _both('mouthStretch', 0.4 * generator.beta(1, 2.5), generator)
                | _both('mouthLowerDown', 0.6 * generator.random(), generator)
                | _both('mouthUpperUp', 0.3 * generator.random(), generator))
    if kind == 3:  # wide open: a yawn, a shout
        return {'jawOpen': generator.uniform(0.55, 1.0)} | _both(
            'mouthStretch', 0.4 * generator.random(), generator)
    if kind == 4:
        return {'mouthPucker': strong, 'mouthFunnel': 0.3 * generator.random()}
    if kind == 5:
        return (_both('mouthFrown', strong, generator)
                | {'mouthShrugLower': 0.5 * generator.random()})
    if kind == 6:  # pressed or rolled lips
        if generator.random() < 0.5:
            return _both('mouthPress', strong, generator)
        return {'mouthRollLower': 0.7 * strong, 'mouthRollUpper': 0.7 * strong}
    if kind == 7:  # to one side
        side = generator.choice(['Left', 'Right'])
        return {f'mouth{side}': 0.7 * strong, f'jaw{side}': 0.5 * generator.random(),
                'jawForward': 0.4 * generator.random()}
    side = generator.choice(['L', 'R'])
    return _both('cheekPuff', strong, generator) | {f'mouthDimple_{side}': strong}


def _draw_brows(generator: np.random.Generator) -> dict[str, float]:
    kind = generator.choice(4, p=[0.55, 0.2, 0.17, 0.08])
    strong = generator.uniform(0.3, 1.0)
    if kind == 0:
        return {}
    if kind == 1:
        return _both('browInnerUp', strong, generator) | _both('browOuterUp', strong, generator)
    if kind == 2:
        return _both('browDown', strong, generator) | _both(
            'noseSneer', 0.7 * strong * (generator.random() < 0.4), generator)
    return {f'browOuterUp_{generator.choice(["L", "R"])}': strong}
