"""`/api/v0/logs` and `/api/v0/logs/{media_type}`: log files read from the bucket when they are asked for, never through a snapshot."""
