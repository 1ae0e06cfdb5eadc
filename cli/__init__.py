"""The `ray-history` command."""
