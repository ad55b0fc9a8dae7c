"""Which samples a split takes."""

SPLITS = ('validation', 'train', 'all')


def takes(split: str, is_validation: bool) -> bool:
    """Whether a split (one of `SPLITS`) takes a sample that is held out, or one that is not."""
    return split == 'all' or is_validation == (split == 'validation')
