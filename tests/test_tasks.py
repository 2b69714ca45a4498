"""Jobs of one organization do nothing without it, for another one, or with another one's object (security T7)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from celery import current_app
from django.core import mail
from django.db import connection

from accounts.models import Domain, Invitation, Organization
from portal.lib.jobs import ORGANIZATION_HEADER
from portal.lib.tasks import OrganizationMissing, PortalTask
from portal.lib.tenancy import leave_organization
from tests.factories.accounts import make_domain, make_invitation, make_membership
from tests.support import as_served
from tests.world import NOW, World


def _invitation(organization: Organization) -> dict[str, int]:
    by = make_membership(organization).user
    invitation = make_invitation(organization, "late@example.com", invited_by=by, now=NOW)[0]
    Invitation.objects.filter(pk=invitation.pk).update(mailed_at=None)
    return {"invitation_id": invitation.pk}


def _domain(organization: Organization) -> dict[str, int]:
    domain = make_domain(organization, f"due-{organization.slug}.example")
    Domain.objects.filter(pk=domain.pk).update(checked_at=datetime.now(UTC) - timedelta(days=2))
    return {"domain_id": domain.pk}


# Task of an organization -> makes what it has to work on there, and returns what it is called with.
WORK: dict[str, Callable[[Organization], dict[str, int]]] = {
    "accounts.mail_invitation": _invitation,
    "accounts.check_domain": _domain,
}


def tasks_of_organizations() -> dict[str, PortalTask]:
    current_app.loader.import_default_modules()
    own = {name: task for name, task in current_app.tasks.items() if not name.startswith("celery.")}
    ours = {name: task for name, task in own.items() if isinstance(task, PortalTask)}
    assert ours == own
    return {name: task for name, task in ours.items() if not task.platform}


@dataclass(frozen=True)
class Traces:
    """What a task can leave behind: rows of both organizations, mails, and jobs for when it commits."""

    ours: dict[str, str]
    theirs: dict[str, str]
    mails: int
    jobs: int


def traces(world: World) -> Traces:
    ours, theirs = world.checksum(world.ours), world.checksum(world.theirs)
    return Traces(ours, theirs, len(mail.outbox), len(connection.run_on_commit))


def run(task: PortalTask, organization: str | None, kwargs: dict[str, int]) -> Exception | None:
    """Run the task as a worker would, as the app role; return what it raised, if anything."""
    headers = {} if organization is None else {ORGANIZATION_HEADER: organization}
    leave_organization()
    try:
        with as_served():
            task.apply(kwargs=kwargs, headers=headers, throw=True)
    except Exception as error:
        return error
    return None


def test_every_task_of_an_organization_is_tried_here():
    assert set(tasks_of_organizations()) == set(WORK)


@pytest.mark.asvs("8.4.1")
@pytest.mark.parametrize("name", WORK)
def test_a_task_touches_nothing_without_its_organization_or_for_another(world: World, name: str):
    task = tasks_of_organizations()[name]
    kwargs = WORK[name](world.ours)
    before = traces(world)

    for organization in (None, "", "0", "-1", "2147483647", "9" * 30, "x", str(world.theirs.pk)):
        error = run(task, organization, kwargs)
        assert traces(world) == before, organization
        assert isinstance(error, OrganizationMissing) == (not organization), organization

    # With its own it does something, or nothing above would mean anything.
    assert run(task, str(world.ours.pk), kwargs) is None
    after = traces(world)
    assert after != before
    assert after.theirs == before.theirs
