"""Ray's own vocabulary, as its State API and its events spell it."""
