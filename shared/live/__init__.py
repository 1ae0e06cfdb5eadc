"""Clusters that run now: where they are listed, and whether a stored session is the one that a cluster answers for."""
