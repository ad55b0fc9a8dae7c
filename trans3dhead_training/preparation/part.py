"""What a part of the prepared data is to the command that writes it."""

from __future__ import annotations

from typing import Any, Protocol

from trans3dhead_training.data.sample import Sample


class Maker(Protocol):
    """
    Makes the samples of one part, in any order and in any process.

    A maker is small and can be pickled; what it needs in memory it loads when it first makes
    something. The same settings make the same samples.

    :ivar name: of the part. :ivar source: what it is made from. :ivar licence: of that.
    :ivar open: whether it is free for any use. :ivar bytes_each: rough size of one sample, for the
        estimate of the disk that is needed.
    """

    name: str
    source: str
    licence: str
    open: bool
    bytes_each: int

    def count(self) -> int:
        """
        Return how many items there are to make from; an item can give any number of samples.

        :raises ValueError: an input is missing or damaged.
        """

    def settings(self) -> dict[str, Any]:
        """Return plain values on which the samples depend."""

    def samples_per_item(self) -> float:
        """Return how many samples an item gives on the average."""

    def make(self, start: int, stop: int) -> list[Sample]:
        """
        Return the samples of the items start ... stop - 1.

        :raises ValueError: an input is missing or damaged.
        """
