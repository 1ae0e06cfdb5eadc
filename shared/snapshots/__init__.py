"""The immutable result of a cold load: its format, written by workers and read by the API."""
