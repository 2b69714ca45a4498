"""Tag projects, for reports of costs. Rules: docs/how-to/tag-costs.md."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from accounts.models import Project
from accounts.services.audit import record_event
from billing.models import CostTags, SpendByCause
from billing.selectors.cost_tags import newest_tags
from billing.services.credits import lock_cap
from portal.lib.errors import DomainError
from portal.lib.periods import day_of

MOST_TAGS = 20
LONGEST_VALUE = 80
_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
DAY = timedelta(days=1)


class UnableToTag(DomainError):
    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "unable_to_tag"


@transaction.atomic
def set_cost_tags(*, project: Project, tags: Mapping[str, str], now: datetime) -> datetime | None:
    """Give a project these tags and no others; return the UTC day from which they hold, None where it has them.

    That is the first day, the running one or later, of which no usage of the project is counted yet: what was counted
    keeps the tags that it was counted under. The log says which tags changed and not what they say. Raises
    UnableToTag for too many, and for keys and values that no tag may have.
    """
    _refuse_bad(tags)
    # No usage is counted meanwhile, so that what is found below stays true.
    lock_cap(organization_id=project.organization_id, now=now)
    newest = newest_tags(project)
    before: Mapping[str, str] = newest.tags if newest else {}
    changed = sorted(key for key in before.keys() | tags.keys() if before.get(key) != tags.get(key))
    if not changed:
        return None
    from_day = _first_open_day(project, now)
    CostTags.objects.update_or_create(
        organization_id=project.organization_id,
        project=project,
        from_day=from_day,
        defaults={"tags": dict(tags), "changed_at": now},
    )
    record_event(
        "cost_tags.changed",
        organization_id=project.organization_id,
        target=("project", project.public_id),
        changes={"tags": (None, changed), "from_day": (None, f"{from_day:%Y-%m-%d}")},
        now=now,
    )
    return from_day


def _first_open_day(project: Project, now: datetime) -> datetime:
    """Return the first UTC day from now on of which nothing is counted: an event may lie minutes ahead."""
    today = day_of(now)
    causes = SpendByCause.objects.filter(organization_id=project.organization_id, span_days=1, day__gte=today)
    mine = causes.filter(cause=SpendByCause.Cause.PROJECT, cause_id=str(project.pk))
    last: datetime | None = mine.aggregate(last=Max("day"))["last"]
    return today if last is None else last + DAY


def _refuse_bad(tags: Mapping[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise UnableToTag(_("That is more than %(most)s tags.") % {"most": MOST_TAGS})
    for key, value in tags.items():
        if not _KEY.fullmatch(key):
            words = _("%(key)s is no key of a tag: a small letter first, then small letters, digits, and . _ -")
            raise UnableToTag(words % {"key": key[:40] or "="})
        if not 0 < len(value) <= LONGEST_VALUE or not value.isprintable() or value != value.strip():
            words = _("The value of %(key)s needs 1 to %(most)s characters.")
            raise UnableToTag(words % {"key": key, "most": LONGEST_VALUE})
