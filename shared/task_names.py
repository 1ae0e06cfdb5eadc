"""The names by which the API and the workers meet on the queue. Nothing else of either is known to the other."""

QUEUE = "ray-history"
LOAD_SESSION = "ray_history.load_session"
