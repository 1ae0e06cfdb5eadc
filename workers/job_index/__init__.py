"""The index of jobs over all sessions: `lister.py` goes through the bucket, `look.py` reads what is cheap of one session, `loaded.py`
tells what a load knows of it.
"""
