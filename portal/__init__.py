"""The project package: root files at the top of the stack, `lib/` at the bottom."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
