"""The base of every Celery task: tasks of one organization run inside its row-level security."""

from datetime import timedelta
from typing import Any

import structlog
from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

from portal.lib.context import forget
from portal.lib.jobs import ORGANIZATION_HEADER
from portal.lib.tenancy import as_platform, set_organization

log = structlog.get_logger(__name__)


class OrganizationMissing(Exception):
    """A task of an organization was called without saying which."""


class PortalTask(Task):  # type: ignore[type-arg]  # celery's Task is not generic at run time
    """A task that belongs to one organization, or is declared `platform=True` and to none.

    A task of an organization runs in one transaction with that organization set; a platform task runs as the
    platform role and opens its own transactions.
    """

    abstract = True
    platform = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.platform:
            with as_platform():
                return super().__call__(*args, **kwargs)
        organization_id = (self.request.headers or {}).get(ORGANIZATION_HEADER) or getattr(
            self.request, ORGANIZATION_HEADER, None
        )
        if organization_id is None:
            raise OrganizationMissing(f"{self.name} was called without an organization")
        try:
            with transaction.atomic():
                set_organization(int(organization_id))
                return super().__call__(*args, **kwargs)
        finally:
            forget()

    def enqueue_on_commit(self, kwargs: dict[str, Any], organization_id: int | None, after: timedelta) -> None:
        headers = {} if organization_id is None else {ORGANIZATION_HEADER: str(organization_id)}

        def send() -> None:
            try:
                self.apply_async(kwargs=kwargs, headers=headers, countdown=after.total_seconds(), retry=False)
            except OperationalError:
                log.warning("jobs.broker_unreachable", task=self.name)

        transaction.on_commit(send)
