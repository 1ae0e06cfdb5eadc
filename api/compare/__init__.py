"""`/compare`: what is different between two sessions, or two jobs."""
