"""An aligner that counts its crops."""

from trans3dhead_ros.perception.aligner import HeadAligner


class CountingAligner(HeadAligner):
    """Counts the crops that it is asked for."""

    crops = 0

    def align_images(self, requests):
        """Count and align."""
        self.crops += sum(len(boxes) for _, boxes, *_ in requests)
        return super().align_images(requests)
