"""What a Rerun recording contains."""

from collections import defaultdict

import rerun as rr


def read(path):
    """Return entity -> component -> [(stamp or None, value)]."""
    found = defaultdict(lambda: defaultdict(list))
    for chunk in rr.chunk.RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        stamps = batch.column('stamp').cast('int64').to_pylist() \
            if 'stamp' in batch.schema.names else [None] * batch.num_rows
        for name in batch.schema.names:
            if ':' in name:
                found[chunk.entity_path][name].extend(zip(stamps, batch.column(name), strict=True))
    return found


def stamps_of(rows):
    return [stamp for stamp, _ in rows]
