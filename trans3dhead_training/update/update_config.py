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
    held_out: float = 0.2
    """Share of the people that are held out from training."""
    keep_days: float = 30.0
    """Days after which the crops must be deleted."""
    minutes: float = 25.0
    """Length of the training run."""
    steps: int = 0
    """Length of the training run in steps, 0: no limit; whichever of minutes and steps comes
    first."""
    learning_rate: float = 2e-4
    """Peak learning rate."""
    replay: float = 0.5
    """Share of the heads of a batch that come from the replay set."""
    share: float = 0.7
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
        if self.minutes <= 0 and self.steps <= 0:
            raise UserError('minutes, steps: one of them must be more than 0')
