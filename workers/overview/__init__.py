"""The overview of a session: what its task rows, nodes, actors and jobs come down to, computed once, at load.

Each merged range of tasks is digested for itself (`task_digest.py`); digests are merged in the last step (`documents.py`).
"""
