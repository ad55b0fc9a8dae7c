"""`trans3dhead prepare data`: from raw folders to shards that a training draws from."""
