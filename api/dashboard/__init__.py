"""The Ray dashboard's own API, answered from snapshots: once for the session of the cookies, once for the session of the path."""
