"""
The folder of an update.

    manifest.json       what is kept of people, since when and until when, what was derived from it
    settings.json       the recordings, the model and the settings that the folder was started with
    collected/          crops of heads, heads.npz, tracked.npz, cameras.json
    labels.npz          averaged points of the crops
    fits.npz            the head model fitted to them
    data/               what is trained on: the crops and the replay set, as shards
    held_out/           the crops of people that no training draws from, as shards
    head_model.npz      of the current model
    train/              the training
    candidate.onnx, candidate.safetensors
    report.json, report.md, heads.jpg

Every file is complete or absent, so that the same command continues a run that was killed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from trans3dhead_ros.atomic_files import write_json
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import ModelFiles
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.whole_files import read_json

MANIFEST = 'manifest.json'
PERSONAL = ('collected', 'labels.npz', 'fits.npz', 'data', 'held_out', 'train', 'heads.jpg')
"""What shows people, or describes their heads."""
_LEAST_FREE_BYTES = 300_000_000


class UpdateRun:
    """
    The folder of one update.

    :param path: of the folder.

    Example::

        run = UpdateRun(Path('update'))
        run.start(['drive.mcap'], None, model_files, UpdateConfig())
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.collected = path / 'collected'
        self.heads, self.tracked = self.collected / 'heads.npz', self.collected / 'tracked.npz'
        self.crops, self.cameras = self.collected / 'crops', self.collected / 'cameras.json'
        self.labels, self.fits = path / 'labels.npz', path / 'fits.npz'
        self.data, self.held_out = path / 'data', path / 'held_out'
        self.head_model = path / 'head_model.npz'
        self.training = path / 'train'
        self.candidate = path / 'candidate.safetensors'
        self.report = path / 'report.json'
        self.manifest = path / MANIFEST

    def start(
        self, sources: Sequence[str], labels: Path | None, model: ModelFiles,
        config: UpdateConfig,
    ) -> dict[str, Any]:
        """
        Start the folder, or go on in it.

        :param sources: the recordings, as the user gave them.
        :param labels: folder of the user's labels.
        :param model: the current model.
        :param config: the settings.
        :return: the manifest.
        :raises UserError: the folder was started with other settings, holds something else, is
            expired, or its disk is nearly full.
        """
        settings = {'sources': {source: _size(source) for source in sources},
                    'labels': None if labels is None else str(labels),
                    'parent': model.metadata['sha256'], **asdict(config)}
        path = self.path / 'settings.json'
        if path.is_file():
            self.check_usable()
            before = read_json(path)
            changed = sorted(key for key in {*before, *settings}
                             if before.get(key) != settings.get(key))
            if changed:
                raise UserError(f'output: {self.path} was started with other {", ".join(changed)}; '
                                'give the same again, or another folder')
            return read_json(self.manifest)
        if self.path.is_dir() and any(self.path.iterdir()):
            raise UserError(f'output: {self.path} is not empty and not a run of `trans3dhead '
                            'update`; choose another folder')
        self.path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.path).free
        if free < _LEAST_FREE_BYTES:
            raise UserError(f'output: {self.path} has {free / 1e6:.0f} MB free, and an update '
                            f'needs {_LEAST_FREE_BYTES / 1e6:.0f} MB')
        now = datetime.now(timezone.utc).replace(microsecond=0)
        name = hashlib.sha256(f'{sorted(settings["sources"])} {now}'.encode()).hexdigest()[:12]
        manifest = {'run': name, 'created': now.isoformat(),
                    'expires': (now + timedelta(days=config.keep_days)).isoformat(),
                    'recordings': [Path(source).name for source in sources],
                    'kept': {}, 'derived': {}, 'forgotten': None}
        write_json(self.manifest, manifest)
        write_json(path, settings)
        return manifest

    def note(self, key: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Add to an entry of the manifest; return the manifest."""
        manifest = read_json(self.manifest)
        manifest[key] = {**manifest[key], **content}
        write_json(self.manifest, manifest)
        return manifest

    def check_usable(self) -> None:
        """
        Refuse a run whose crops were deleted or have outlived their time.

        :raises UserError: it is one.
        """
        manifest = read_json(self.manifest)
        if manifest['forgotten']:
            raise UserError(f'output: the crops of {self.path} were deleted on '
                            f'{manifest["forgotten"]}; start another folder')
        if self.is_expired():
            raise UserError(f'output: the crops of {self.path} were to be deleted by '
                            f'{manifest["expires"]}; `trans3dhead update --forget --output '
                            f'{self.path}` does so')

    def is_expired(self) -> bool:
        """Return whether the crops have outlived their time."""
        expires = datetime.fromisoformat(read_json(self.manifest)['expires'])
        return datetime.now(timezone.utc) > expires

    def forget(self) -> list[str]:
        """
        Delete what shows people or describes their heads.

        :return: lines that say what was deleted, and what was derived from it and stays.
        :raises UserError: the folder is not one of an update.
        """
        if not self.manifest.is_file():
            raise UserError(f'output: {self.path} is not a run of `trans3dhead update`')
        manifest = read_json(self.manifest)
        removed = 0
        for name in PERSONAL:
            path = self.path / name
            if path.is_dir():
                removed += sum(file.is_file() for file in path.rglob('*'))
                shutil.rmtree(path)
            elif path.exists():
                removed += 1
                path.unlink()
        if not manifest['forgotten']:
            now = datetime.now(timezone.utc).replace(microsecond=0)
            manifest['forgotten'] = now.isoformat()
            write_json(self.manifest, manifest)
        lines = [f'{self.path}: {removed} files with heads of people deleted']
        derived = manifest['derived']
        if not derived:
            return [*lines, 'nothing was derived from them']
        return [*lines, *(f'derived from them and kept: {name}, sha256 {value[:12]}…'
                          for name, value in derived.items()),
                'a model does not hold pictures; where it is to go too, delete it here and from '
                'the model folder of every robot that has it']


def _size(source: str) -> int:
    """Return the bytes of a file, or of the files of a folder."""
    path = Path(source)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob('*') if file.is_file())
    return path.stat().st_size if path.is_file() else 0
