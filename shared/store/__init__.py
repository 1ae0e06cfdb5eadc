"""Redis: the keys, the one client factory, claims, load status, eviction."""
