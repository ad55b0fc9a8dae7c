"""What a training learns from and what it is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_training.core.background_crops import backgrounds_of
from trans3dhead_training.data.head_batches import Heads
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.mirror import HeadMirror
from trans3dhead_training.engine.config import TrainConfig

HEAD_MODEL_SOURCE = 'head basis from ICT-FaceKit (MIT)'
HEADLINE_PARTS = ('photographs', 'portraits', 'synthetic')
"""The validation error of the first of these that may be used chooses the best checkpoint."""


@dataclass(frozen=True)
class RunData:
    """
    Heads of one training.

    :ivar validations: held-out heads by part. :ivar headline: the part that chooses the best
        checkpoint.
    :ivar credit: what a checkpoint's metadata says of what its tensors were made from.
    """

    manifest: Manifest
    training: Heads
    validations: Mapping[str, Heads]
    headline: str
    credit: Mapping[str, str]

    @classmethod
    def read(cls, config: TrainConfig, model: HeadModel) -> RunData:
        """
        Read what a configuration asks for.

        :param model: on the CPU.
        :raises ValueError: no prepared data, or none of it may choose a checkpoint.
        """
        folder, open_only = Path(config.data), config.heads.open_only
        manifest = Manifest.load(folder)
        mirror, panoramas = HeadMirror.of(model), backgrounds_of(config.backgrounds)

        def heads(parts: Sequence[str], validation: bool) -> Heads:
            # Validation measures against all that is known, whatever the training may use.
            chosen = (replace(config.heads, use_fits=True, open_only=False) if validation
                      else config.heads)
            return Heads.read(folder, model, parts, validation, config.network.input_size,
                              config.network.crop_scale, chosen, panoramas, mirror)

        training = heads(config.heads.shares.parts, False)
        validations = {part.name: heads((part.name,), True)
                       for part in manifest.parts if part.validation}
        usable = {part.name for part in manifest.chosen(open_only)}
        headlines = [name for name in HEADLINE_PARTS if name in usable & {*validations}]
        if not headlines:
            raise UserError(f'data: {folder} holds no validation heads that may be used')
        sources, licences = manifest.credit(open_only, training.table.part_names)
        return cls(manifest, training, validations, headlines[0], {
            'training_data': f'{sources}; {HEAD_MODEL_SOURCE}',
            'licence': f'Apache-2.0 for the tensors; what they were trained on: {licences}'})
