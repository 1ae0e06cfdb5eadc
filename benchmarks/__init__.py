"""What it costs to load sessions and to answer requests, each figure beside its floor measured in the same run."""
