"""One sample type, its readers, shards and the manifest of prepared data."""
