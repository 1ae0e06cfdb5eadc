"""The loading side: Celery workers that read event files, merge them and publish snapshots."""
