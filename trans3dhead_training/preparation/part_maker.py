"""The interface between a part of the prepared data and the writer of parts."""

from __future__ import annotations

from typing import Any, Protocol

from trans3dhead_training.data.sample import Sample


class PartMaker(Protocol):
    """
    Makes the samples of one part, in any order and in any process.

    A maker is small and picklable; large data is loaded when the first sample is made. The same
    settings make the same samples.

    Example::

        maker = PhotographMaker(Path('faces'), Path('runs/fits.npz'))
        samples = maker.make(0, 10)
    """

    name: str
    """Of the part."""
    source: str
    """What the part is made from."""
    licence: str
    """Of the source."""
    open: bool
    """Whether the part is free for any use."""
    bytes_each: int
    """Rough size of one sample, to estimate the disk space."""

    def count(self) -> int:
        """
        Return the number of items to make samples from; an item can give any number of samples.

        :return: number of items.
        :raises UserError: an input is missing or damaged.
        """

    def settings(self) -> dict[str, Any]:
        """Return plain values on which the samples depend."""

    def samples_per_item(self) -> float:
        """Return the average number of samples of an item."""

    def make(self, start: int, stop: int) -> list[Sample]:
        """
        Make the samples of the items start ... stop - 1.

        :param start: first item.
        :param stop: end of the items.
        :return: the samples.
        :raises UserError: an input is missing or damaged.
        """
