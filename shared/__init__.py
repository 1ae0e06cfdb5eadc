"""What the API and the workers both need: identity, layout, storage, settings, the Redis-held store."""
