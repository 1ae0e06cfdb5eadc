"""The names by which the API and the workers meet on the queue. Nothing else of either is known to the other."""

from shared.snapshots.format import FORMAT

# `loads`: this session wants loading. `steps`: this load wants a hand.
# One pair per snapshot format: a task goes to workers whose keys are the sender's.
LOADS_QUEUE = f"ray-history.loads.v{FORMAT}"
STEPS_QUEUE = f"ray-history.steps.v{FORMAT}"
QUEUES = (LOADS_QUEUE, STEPS_QUEUE)
# What the broker's keys in Redis begin with.
BROKER_PREFIX = "rhs:celery:"
LOAD_SESSION = "ray_history.load_session"
PARSE_PART = "ray_history.parse_part"
MERGE_ENTITIES = "ray_history.merge_entities"
MERGE_RANGE = "ray_history.merge_range"
SUMMARISE = "ray_history.summarise"
PUBLISH = "ray_history.publish"
# What a large load is cut into.
STEPS = (PARSE_PART, MERGE_ENTITIES, MERGE_RANGE, SUMMARISE, PUBLISH)
