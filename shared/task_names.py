"""The names by which the API and the workers meet on the queue. Nothing else of either is known to the other."""

from shared.snapshots.format import FORMAT
from shared.store.keys import Keyspace

# This session wants loading: `session`, `generation`.
LOAD_SESSION = "ray_history.load_session"
# Does the bucket hold more of this loaded session: `session`, `snapshot`.
CHECK_SESSION = "ray_history.check_session"
# This load wants a hand: `session`, `generation`, `attempt`.
WORK_ON_LOAD = "ray_history.work_on_load"


def loads_queue(keyspace: Keyspace) -> str:
    """For LOAD_SESSION and CHECK_SESSION. Each storage and snapshot format has its own: its workers have the sender's keys."""
    return f"ray-history.loads.v{FORMAT}.{keyspace.storage}"


def steps_queue(keyspace: Keyspace) -> str:
    """For WORK_ON_LOAD."""
    return f"ray-history.steps.v{FORMAT}.{keyspace.storage}"


def broker_prefix(prefix: str) -> str:
    """What the broker's keys in Redis begin with."""
    return f"{prefix}:celery:"
