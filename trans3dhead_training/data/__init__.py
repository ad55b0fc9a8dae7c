"""The sample type, shards of prepared samples, their manifest, and batches drawn from them."""
