"""The names by which the API and the workers meet on the queue. Nothing else of either is known to the other."""

QUEUE = "ray-history"
LOAD_SESSION = "ray_history.load_session"
PARSE_PART = "ray_history.parse_part"
MERGE_ENTITIES = "ray_history.merge_entities"
MERGE_RANGE = "ray_history.merge_range"
SUMMARISE = "ray_history.summarise"
PUBLISH = "ray_history.publish"
