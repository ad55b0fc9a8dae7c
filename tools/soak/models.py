"""`~/load_model` with valid files and with everything else that a client may name."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from std_srvs.srv import Trigger
from tqdm import tqdm
from trans3dhead.msg import HeadArray
from trans3dhead.srv import LoadModel

from tools.soak.camera import CameraProcess
from tools.soak.stage import Stage
from tools.soak.watch import Outcome
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint

_LOAD = 'head_tracker/load_model'
# Allowed difference of the same model on the same picture, px.
_SAME = 0.01


def models(stage: Stage, size: int, seed: int = 0) -> Outcome:
    """
    Request models, every third one valid, while a camera publishes images.

    A refused file must leave the running model in use, a valid one must replace it; results must
    carry the name of the model that computed them.

    :param stage: the tracker and its clients.
    :param size: number of requests.
    :param seed: of the random choices.
    :return: the outcome.
    """
    outcome = Outcome('models loaded')
    random = np.random.default_rng(seed)
    good = _good_models(stage.models)
    bad = _Bad(stage.models, good[0], random)
    stage.wait()
    reference: dict[str, np.ndarray] = {}
    running, counts = _ask(stage).model, {True: 0, False: 0}
    with CameraProcess('raw/image_raw', rate=10.0) as camera:
        for index in tqdm(range(size), desc='models loaded', disable=None):
            wanted = index % 3 == 0
            path = good[index // 3 % len(good)] if wanted else bad.next()
            stage.raw.received['heads'].clear()
            response = stage.raw.call(LoadModel, _LOAD, LoadModel.Request(path=str(path)))
            counts[response.success] += 1
            outcome.demand(response.success == wanted, f'{path}: {response.message}')
            outcome.demand(bool(response.message) and '\n' not in response.message,
                           f'{path}: no line that says why')
            outcome.demand(wanted or response.version == running, f'{path}: the model changed')
            names = [answer.model for answer in stage.raw.received['heads']]
            outcome.demand(set(names) <= {running, response.version},
                           f'{path}: answers of {set(names)}')
            running = response.version
            answer = _ask(stage)
            outcome.demand(answer.model == running, f'{path}: {answer.model} answers')
            points = np.array(answer.heads[0].landmarks_px) if answer.heads else np.zeros(204)
            off = np.abs(points - reference.setdefault(running, points)).max()
            outcome.demand(off < _SAME, f'{path}: numbers of another model, {off} px off')
            if not stage.alive():
                break
        outcome.demand(camera.running(), 'the camera ended')
    outcome.demand(stage.alive(), 'the tracker died')
    apart = [np.abs(a - b).max() for a in reference.values() for b in reference.values()
             if a is not b]
    outcome.demand(not apart or min(apart) > 10 * _SAME, 'the good models cannot be told apart')
    outcome.figures |= {'calls': sum(counts.values()), 'loaded': counts[True],
                        'refused': counts[False], 'models seen': len(reference)}
    return outcome


def _ask(stage: Stage) -> HeadArray:
    """Return the heads of the person's picture, independent of earlier images."""
    stage.packed.call(Trigger, 'head_tracker/reset', Trigger.Request())
    answer = stage.ask(stage.packed, stage.person)
    assert answer is not None, 'a valid image was not processed'
    return answer


def _good_models(folder: Path) -> list[Path]:
    """Return the bundled model under another name, and one with a little noise."""
    paths = []
    for name, noise in (('plain', 0.0), ('noisy', 2e-2)):
        network, metadata = load_checkpoint(bundled_model(), torch.device('cpu'))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.is_floating_point():
                    parameter *= 1.0 + noise * torch.randn(
                        parameter.shape, generator=generator)
        paths.append(folder / f'{name}.safetensors')
        save_checkpoint(paths[-1], network, {**metadata, 'name': name})
    return paths


class _Bad:
    """Paths that must be refused; the files are written again for each request."""

    def __init__(self, folder: Path, good: Path, random: np.random.Generator) -> None:
        self._folder, self._random, self._count = folder, random, 0
        self._whole = good.read_bytes()
        self._link = folder / 'link.safetensors'
        self._link.symlink_to('/etc/hostname')
        self._pipe = folder / 'pipe.safetensors'
        os.mkfifo(self._pipe)

    def next(self) -> str | Path:
        kinds: tuple[Callable[[], bytes | str | Path], ...] = (
            self._truncated, self._flipped, self._foreign, self._empty, self._noise,
            self._oversized, self._long_header, self._overlapping, self._not_finite,
            self._other_shape, self._pickle,
            lambda: self._folder, lambda: self._folder / 'missing.safetensors', lambda: self._link,
            lambda: self._pipe, lambda: '/dev/zero', lambda: '../' * 9 + 'etc/passwd',
            lambda: 'a\0b', lambda: 'n' * 5000)
        made = kinds[self._count % len(kinds)]()
        self._count += 1
        if not isinstance(made, bytes):
            return made
        path = self._folder / 'bad.safetensors'
        path.write_bytes(made)
        return path

    def _truncated(self) -> bytes:
        return self._whole[:self._random.integers(1, len(self._whole))]

    def _flipped(self) -> bytes:
        data = bytearray(self._whole)
        data[self._random.integers(len(data) // 2, len(data))] ^= 0xFF
        return bytes(data)

    def _foreign(self) -> bytes:
        return save({'weight': torch.zeros(4, 4)}, metadata={'format': 'pt'})

    def _empty(self) -> bytes:
        return b''

    def _noise(self) -> bytes:
        return self._random.bytes(self._random.integers(1, 100_000))

    def _oversized(self) -> Path:
        """Return a sparse file of a terabyte."""
        path = self._folder / 'huge.safetensors'
        path.write_bytes(self._whole)
        os.truncate(path, 2 ** 40)
        return path

    def _long_header(self) -> bytes:
        return struct.pack('<Q', 2 ** 62) + self._whole[8:]

    def _overlapping(self) -> bytes:
        def both(header: dict) -> None:
            tensors = [value for name, value in header.items() if name != '__metadata__']
            tensors[1]['data_offsets'] = tensors[0]['data_offsets']
        return self._rewritten(both)

    def _not_finite(self) -> bytes:
        """Return a model that contains NaN and the checksum of the valid one."""
        tensors = load(self._whole)
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        tensors[name].flatten()[0] = float('nan')
        return save(tensors, metadata=self._header()['__metadata__'])

    def _other_shape(self) -> bytes:
        def swap(header: dict) -> None:
            for value in header.values():
                if 'shape' in value and len(set(value['shape'])) > 1:
                    value['shape'] = value['shape'][::-1]
                    return
        return self._rewritten(swap)

    def _pickle(self) -> bytes:
        path = self._folder / 'pickle.pt'
        torch.save({'weight': torch.zeros(2)}, path)
        return path.read_bytes()

    def _header(self) -> dict:
        length, = struct.unpack('<Q', self._whole[:8])
        return json.loads(self._whole[8:8 + length])

    def _rewritten(self, change: Callable[[dict], None]) -> bytes:
        length, = struct.unpack('<Q', self._whole[:8])
        header = self._header()
        change(header)
        text = json.dumps(header).encode()
        return struct.pack('<Q', len(text)) + text + self._whole[8 + length:]
