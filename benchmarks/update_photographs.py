"""
What an update is worth on photographs: `python benchmarks/update_photographs.py`.

Twenty people whose photographs no training draws from, as a bad camera would show them: dark,
blurred, noisy, and cut off by the border of the frame. `trans3dhead update` gets the frames of
half of the people, without labels. Measured are the labelled points of the other half before and
after, and those of ordinary photographs (helen, lfpw, afw), which must not get worse. People are
drawn for the intervals, as the gate does.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.profiles import FIRST_HELD_OUT
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.gate.head_errors import LANDMARKS, head_errors
from trans3dhead_training.gate.verdict import Measurement, compare
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_stages import UpdateTask, update

PEOPLE, FRAMES_EACH = 20, 4
SIZE, HEAD_PX = (320, 240), (60.0, 85.0)
GAIN, BLUR_PX, NOISE_LEVELS, QUALITY = (0.12, 0.3), (1.0, 1.8), 4.0, 60
CUT_SHARE, MOST_CUT = 0.4, 0.3
ORDINARY = ('helen', 'lfpw', 'afw')


class BadCamera:
    """A camera whose gain and focus stay about the same for a person."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.gain = np.exp(generator.uniform(*np.log(GAIN)))
        self.blur_px = generator.uniform(*BLUR_PX)

    def frame(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """Return a frame (H, W, 3) BGR of a photograph, and its points (68, 2) px in it."""
        random, image = self.generator, sample.image()
        box = landmark_box(sample.points[np.isfinite(sample.points).all(-1)])
        scale = random.uniform(*HEAD_PX) / float((box[2:] - box[:2]).max())
        half = scale * (box[2:] - box[:2]) / 2
        place = random.uniform(1.2 * half, np.array(SIZE) - 1.2 * half)
        if random.random() < CUT_SHARE:
            axis, far = random.integers(2, size=2)
            beyond = half[axis] * (1 - 2 * random.uniform(0.05, MOST_CUT))
            place[axis] = SIZE[axis] - beyond if far else beyond
        shift = place - scale * (box[:2] + box[2:]) / 2
        points = scale * sample.points + shift
        if scale < 0.5:
            image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            scale *= 2
        matrix = np.column_stack([scale * np.eye(2), shift])
        frame = cv2.warpAffine(image, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)
        frame = cv2.GaussianBlur(frame, (0, 0), self.blur_px).astype(np.float32)
        frame = frame * self.gain * np.exp(random.normal(0, 0.1))
        frame += random.standard_normal(frame.shape) * NOISE_LEVELS
        frame = np.clip(np.round(frame), 0, 255).astype(np.uint8)
        data = cv2.imencode('.jpg', frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        return cv2.imdecode(data, cv2.IMREAD_COLOR), points


def photographs() -> dict[str, list[Sample]]:
    """Return the photographs of each person."""
    people: dict[str, list[Sample]] = {}
    for sample in read_samples(f'profiles:{data_root() / "profiles"}', 'validation'):
        people.setdefault(sample.group, []).append(sample)
    first = f'/{FIRST_HELD_OUT:03d}'
    names = sorted(name for name in people if name[name.index('/'):] >= first)[:PEOPLE]
    return {name: people[name] for name in names}


def write_recordings(people: dict[str, list[Sample]], folder: Path, seed: int) -> list[str]:
    """Write a folder of frames for each person: what the update sees, without labels."""
    sources = []
    for number, samples in enumerate(people.values()):
        source = folder / f'person_{number:02d}'
        source.mkdir(parents=True, exist_ok=True)
        camera = BadCamera(np.random.default_rng((seed, number)))
        for index, sample in enumerate(sample for sample in samples for _ in range(FRAMES_EACH)):
            cv2.imwrite(str(source / f'{index:04d}.png'), camera.frame(sample)[0])
        sources.append(str(source))
    return sources


def as_seen(people: dict[str, list[Sample]], seed: int) -> list[Sample]:
    """Return the photographs of other people before the same camera, with their labels."""
    found = []
    for number, (name, samples) in enumerate(people.items()):
        camera = BadCamera(np.random.default_rng((seed, 1000 + number)))
        for sample in samples:
            frame, points = camera.frame(sample)
            found.append(Sample(encode_jpeg(frame), 'photographs', name, True, points,
                                visible=np.isfinite(points).all(-1)))
    return found


def ordinary() -> list[Sample]:
    """Return the held-out photographs of ordinary cameras."""
    return [sample for sample in read_samples(f'crops:{data_root() / "faces"}', 'validation')
            if sample.source in ORDINARY]


def figures(candidate: Path, sets: dict[str, list[Sample]]) -> list[dict]:
    """Return the errors of the bundled model and of a candidate, in pairs."""
    found = [{(name, LANDMARKS): Measurement(
        head_errors(aligner, samples, name)[LANDMARKS], [sample.group for sample in samples], '%')
        for name, samples in sets.items()} for aligner in (
            HeadAligner.load(path, 'cpu') for path in (bundled_model(), candidate))]
    return [{'set': row.part, 'heads': row.samples, 'people': row.groups,
             'before': round(row.current, 3), 'after': round(row.candidate, 3),
             'percent': round(row.relative_percent, 1),
             'interval': [round(value, 3) for value in row.interval], 'verdict': row.verdict}
            for row in compare(*found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--output', type=Path, default=Path('out/photos'))
    parser.add_argument('--minutes', type=float, default=UpdateConfig.minutes)
    parser.add_argument('--steps', type=int, default=0)
    parser.add_argument('--learning-rate', type=float, default=UpdateConfig.learning_rate)
    parser.add_argument('--share', type=float, default=UpdateConfig.share)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    folder = options.output / f'seed{options.seed}'
    people = list(photographs().items())
    sources = write_recordings(dict(people[::2]), folder / 'frames', options.seed)
    run, stopped_by = update(
        UpdateTask(tuple(sources), folder / 'update'),
        UpdateConfig(minutes=options.minutes, steps=options.steps, seed=options.seed,
                     threads=options.threads, share=options.share,
                     learning_rate=options.learning_rate))
    if not stopped_by:
        print(json.dumps(figures(run.candidate, {
            'other people': as_seen(dict(people[1::2]), options.seed),
            'ordinary photographs': ordinary()}), indent=1))


if __name__ == '__main__':
    main()
