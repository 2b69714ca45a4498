"""Name a follow-up job without importing it."""

from datetime import timedelta

from celery import current_app

from portal.lib.context import current_organization_id

type Json = str | int | float | bool | None

# The header by which a task knows whose rows it may touch.
ORGANIZATION_HEADER = "organization_id"


def enqueue(task_name: str, /, *, after: timedelta = timedelta(0), **kwargs: Json) -> None:
    """Send a Celery task when the current transaction commits, with the current organization as a header.

    after: how long the worker lets it wait; seconds, not minutes, since a worker keeps in memory what waits.

    Services name the task instead of importing it, so `tasks` may import `services` and never the other way
    round. The job is a hint: when the broker cannot be reached it is dropped with a log line, and the sweep
    finds the same work from the rows. Raises NotRegistered at once for a name no tasks module defines.
    """
    if task_name not in current_app.tasks:
        current_app.loader.import_default_modules()
    task = current_app.tasks[task_name]
    # Every task of the portal is a portal.lib.tasks.PortalTask, which Celery's types cannot know.
    task.enqueue_on_commit(kwargs, current_organization_id(), after)  # type: ignore[attr-defined]
