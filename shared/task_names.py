"""The names by which the API and the workers meet on the queue. Nothing else of either is known to the other."""

from shared.snapshots.format import FORMAT

# Workers ask the queues in the order of their names.
# One pair per snapshot format: a task goes to workers whose keys are the sender's.
STEPS_QUEUE = f"ray-history.parts.v{FORMAT}"
QUEUE = f"ray-history.sessions.v{FORMAT}"
QUEUES = (STEPS_QUEUE, QUEUE)
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
