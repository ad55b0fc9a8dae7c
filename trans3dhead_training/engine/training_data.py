"""The training and validation sets of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.core.background_crops import backgrounds_of
from trans3dhead_training.data.head_dataset import HeadDataset
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.mined_negatives import NEGATIVES
from trans3dhead_training.data.mirror import HeadMirror
from trans3dhead_training.engine.config import TrainConfig

HEAD_MODEL_SOURCE = 'head basis from ICT-FaceKit (MIT)'
SELECTION_PARTS = ('photographs', 'portraits', 'synthetic')
"""The validation error on the first of these that may be used selects the best checkpoint."""


@dataclass(frozen=True)
class TrainingData:
    """Datasets of one training."""

    manifest: Manifest
    """Manifest of the prepared folder."""
    training: HeadDataset
    """Heads to learn from."""
    validations: Mapping[str, HeadDataset]
    """Held-out heads by part."""
    selection_part: str
    """The part of `validations` that selects the best checkpoint."""
    credit: Mapping[str, str]
    """`training_data` and `licence` of a checkpoint's metadata."""

    @classmethod
    def read(cls, config: TrainConfig, model: HeadModule) -> TrainingData:
        """
        Read the data that a configuration selects.

        :param config: of the training.
        :param model: on the CPU.
        :return: the datasets.
        :raises UserError: there is no prepared data, or none of it may select a checkpoint.
        """
        folder, open_only = Path(config.data), config.sampling.open_only
        manifest = Manifest.load(folder)
        mirror, panoramas = HeadMirror.of(model), backgrounds_of(config.backgrounds)

        def dataset(parts: Sequence[str], validation: bool) -> HeadDataset:
            # Validation measures against all that is known, whatever the training may use.
            sampling = (replace(config.sampling, use_fits=True, open_only=False) if validation
                        else config.sampling)
            return HeadDataset.read(
                folder, model, parts, validation, config.network.input_size,
                config.network.crop_scale, sampling, panoramas, mirror)

        training = dataset(config.sampling.shares.parts, False)
        validations = {part.name: dataset((part.name,), True) for part in manifest.parts
                       if part.validation and part.name in config.validation_parts}
        usable = {part.name for part in manifest.usable(open_only)}
        selecting = [name for name in SELECTION_PARTS if name in usable & {*validations}]
        if not selecting:
            raise UserError(f'data: {folder} has no validation heads that may be used')
        used = (*training.table.part_names, *([NEGATIVES] if training.mined else []))
        sources, licences = manifest.credit(open_only, used)
        return cls(manifest, training, validations, selecting[0], {
            'training_data': f'{sources}; {HEAD_MODEL_SOURCE}',
            'licence': f'Apache-2.0 for the tensors; what they were trained on: {licences}'})
