"""What an update does: how much it looks at, keeps, holds out and trains."""

from __future__ import annotations

from dataclasses import dataclass

from trans3dhead_ros.errors import UserError


@dataclass(frozen=True)
class UpdateConfig:
    """
    The settings of an update; a run folder keeps those that it was started with.

    :raises UserError: for a number out of its range.

    Example::

        config = UpdateConfig(minutes=10.0, heads=1000)
    """

    rate_hz: float = 10.0
    """Maximum number of frames per second of a recording that are processed."""
    frames: int = 18_000
    """Maximum number of frames of all recordings together, evenly spread."""
    heads: int = 3000
    """Maximum number of heads that are kept."""
    fov_deg: float = 0.0
    """Horizontal field of view of the camera, so that labels account for the stretch of heads off
    its axis; 0: that of the bag's CameraInfo, or unknown."""
    held_out: float = 0.2
    """Share of the people that are held out from training."""
    keep_days: float = 30.0
    """Days after which the crops must be deleted."""
    minutes: float = 25.0
    """Length of the training run."""
    steps: int = 0
    """Length of the training run in steps, 0: no limit; whichever of minutes and steps comes
    first."""
    learning_rate: float = 3e-4
    """Peak learning rate."""
    replay: float = 0.5
    """Share of the heads of a batch that come from the replay set."""
    adapted: float = 0.3
    """Share of the heads of a batch that come from the replay set, adapted to the light and the
    poses of the recordings; part of the share above."""
    share: float = 0.85
    """Weight of the trained network in the candidate; the current model has the rest."""
    threads: int = 0
    """Threads of the networks; 0: one per core."""
    seed: int = 0
    """Seed of the selection of heads and of the training run."""

    def __post_init__(self) -> None:
        for name in ('rate_hz', 'frames', 'heads', 'keep_days', 'learning_rate'):
            if not getattr(self, name) > 0:
                raise UserError(f'{name}: expected more than 0, got {getattr(self, name)}')
        for name in ('held_out', 'replay', 'share'):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise UserError(f'{name}: expected more than 0, at most 1, got '
                                f'{getattr(self, name)}')
        if not 0.0 <= self.adapted < self.replay:
            raise UserError(f'adapted: expected 0 to less than replay, {self.replay}, got '
                            f'{self.adapted}')
        if not 0.0 <= self.fov_deg < 180.0:
            raise UserError(f'fov_deg: expected 0 to 180, got {self.fov_deg}')
        if self.minutes <= 0 and self.steps <= 0:
            raise UserError('minutes, steps: one of them must be more than 0')
