"""Tags of projects by day: read from their history whenever costs are reported (ADR 0031)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from accounts.models import Organization, Project
from billing.models import CostTags
from portal.lib.periods import Period

type Tags = Mapping[str, str]
# From which day on they hold.
type Version = tuple[datetime, Tags]
NONE: Tags = {}


@dataclass(frozen=True, slots=True)
class Span:
    """A project's time with one cost center: UTC days from `start` up to `end`."""

    project_id: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class TagHistory:
    """Every version of tags, newest first, by primary key of the project."""

    versions: Mapping[int, Sequence[Version]]

    def on(self, project_id: int, at: datetime) -> Tags:
        """Return a project's tags on the UTC day of an instant."""
        return next((tags for from_day, tags in self.versions.get(project_id, ()) if from_day <= at), NONE)

    def center(self, project_id: int, at: datetime) -> str:
        """Return a project's cost center on the UTC day of an instant; "" where it has none."""
        return self.on(project_id, at).get(CostTags.COST_CENTER, "")

    def centers(self) -> list[str]:
        """Return every cost center that there ever was, in order of the alphabet; without the missing one."""
        found = {tags.get(CostTags.COST_CENTER, "") for versions in self.versions.values() for _day, tags in versions}
        return sorted(found - {""}, key=lambda center: (center.casefold(), center))

    def spans(self, project_ids: Sequence[int], center: str, period: Period) -> Iterator[Span]:
        """Yield when these projects had a cost center within a period; those of one project do not overlap."""
        for project_id in project_ids:
            end = period.end
            for from_day, tags in (*self.versions.get(project_id, ()), (period.start, NONE)):
                start = max(from_day, period.start)
                if start < end:
                    if tags.get(CostTags.COST_CENTER, "") == center:
                        yield Span(project_id, start, end)
                    end = start


def tag_history(organization_id: int) -> TagHistory:
    """Return all tags that projects of an organization ever had."""
    versions: defaultdict[int, list[Version]] = defaultdict(list)
    rows = CostTags.objects.filter(organization_id=organization_id).order_by("-from_day")
    for project_id, from_day, tags in rows.values_list("project_id", "from_day", "tags"):
        versions[project_id].append((from_day, tags))
    return TagHistory(dict(versions))


def newest_tags(project: Project) -> CostTags | None:
    """Return the tags that a project got last, which may hold from a coming day on only."""
    return CostTags.objects.of_project(project).order_by("-from_day").first()


@dataclass(frozen=True, slots=True)
class TaggedRow:
    """A project with its tags of today in words. coming: those from the day `coming_from` on, which is yet to come."""

    public_id: str
    name: str
    cost_center: str
    tags: str
    coming: str
    coming_from: str


@dataclass(frozen=True, slots=True)
class TaggedPage:
    rows: Sequence[TaggedRow]
    next_after: str  # the public id to continue after, empty on the last page


PAGE_SIZE = 50


def tagged_page(organization: Organization, now: datetime, after: str) -> TaggedPage:
    """Return 50 projects with the tags that hold today, oldest first, from the one after the public id `after` on."""
    projects = Project.objects.owned_by(organization)
    last = projects.filter(public_id=after).first() if after and "\0" not in after else None
    if last is not None:
        projects = projects.filter(pk__gt=last.pk)
    found = list(projects.order_by("pk")[: PAGE_SIZE + 1])
    history = tag_history(organization.pk)
    rows = [_row(project, history, now) for project in found[:PAGE_SIZE]]
    return TaggedPage(rows, rows[-1].public_id if len(found) > PAGE_SIZE else "")


def _row(project: Project, history: TagHistory, now: datetime) -> TaggedRow:
    newest = next(iter(history.versions.get(project.pk, ())), None)
    is_coming = newest is not None and newest[0] > now
    return TaggedRow(
        public_id=project.public_id,
        name=project.name,
        cost_center=history.center(project.pk, now),
        tags=tag_words(history.on(project.pk, now)),
        coming=all_words(newest[1]) if newest and is_coming else "",
        coming_from=f"{newest[0]:%Y-%m-%d}" if newest and is_coming else "",
    )


def tag_words(tags: Tags) -> str:
    """Return tags beside the cost center in words."""
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items()) if key != CostTags.COST_CENTER)


def all_words(tags: Tags) -> str:
    """Return tags in words, the cost center among them."""
    return ", ".join(f"{key}={value}" for key, value in sorted(tags.items())) or _("no tags")


def center_words(center: str) -> str:
    return center or _("Without a cost center")
