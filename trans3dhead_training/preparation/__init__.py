"""From raw folders to the shards that a training reads."""
