"""Service accounts as pages and programs see them, and who may become heir to a member's keys."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q

from accounts.models import ApiKey, Membership, Organization, Project, ServiceAccount
from accounts.selectors.pages import PAGE_SIZE, is_text


@dataclass(frozen=True, slots=True)
class ServiceAccountView:
    """A service account as programs see it."""

    id: str
    name: str
    description: str
    project: str
    scopes: list[str]  # the most that any of its keys may do
    state: str
    created_at: datetime
    disabled_at: datetime | None


def service_account_view(account: ServiceAccount) -> ServiceAccountView:
    """Return what a program may know of an account, which comes with its project."""
    return ServiceAccountView(
        id=account.public_id,
        name=account.name,
        description=account.description,
        project=account.project.public_id,
        scopes=list(account.scopes),
        state=account.state.value,
        created_at=account.created_at,
        disabled_at=account.disabled_at,
    )


@dataclass(frozen=True, slots=True)
class ServiceAccountRow:
    """A service account as a line of the list."""

    public_id: str
    name: str
    project: str
    state: str
    state_label: str
    key_count: int  # those that were not revoked
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServiceAccountPage:
    rows: list[ServiceAccountRow]
    next_after: str  # the public id to continue after, empty on the last page


def service_account_page(organization: Organization, after: str) -> ServiceAccountPage:
    """Return 50 accounts, oldest first, from the one after the public id `after` on; from the oldest if nothing is."""
    accounts = ServiceAccount.objects.owned_by(organization).present()
    last = accounts.filter(public_id=after).values_list("created_at", "pk").first() if is_text(after) else None
    if last is not None:
        accounts = accounts.filter(Q(created_at__gt=last[0]) | Q(created_at=last[0], pk__gt=last[1]))
    found = list(accounts.in_order()[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    keys = ApiKey.objects.owned_by(organization).filter(service_account__in=shown).values("service_account")
    counted = keys.annotate(count=Count("pk", filter=Q(revoked_at=None)), used_at=Max("last_used_at")).order_by()
    uses = {pk: (count, used_at) for pk, count, used_at in counted.values_list("service_account", "count", "used_at")}
    rows = [_row(account, *uses.get(account.pk, (0, None))) for account in shown]
    return ServiceAccountPage(rows, rows[-1].public_id if len(found) > PAGE_SIZE else "")


def _row(account: ServiceAccount, key_count: int, last_used_at: datetime | None) -> ServiceAccountRow:
    return ServiceAccountRow(
        public_id=account.public_id,
        name=account.name,
        project=account.project.name,
        state=account.state.value,
        state_label=str(account.state.label),
        key_count=key_count,
        last_used_at=last_used_at,
    )


@dataclass(frozen=True, slots=True)
class LeftKeys:
    """The keys that a member made in one project and that stay when they go, and the accounts that could take them."""

    project: Project
    keys: list[ApiKey]
    heirs: list[ServiceAccount]


def keys_left_by(member: Membership) -> list[LeftKeys]:
    """Return what a member leaves behind in each project, by name of the project; keys oldest first."""
    keys = ApiKey.objects.owned_by(member.organization).unrevoked().left_by(member.user)
    found = list(keys.select_related("project").order_by("created_at", "pk"))
    projects = {key.project_id: key.project for key in found}
    accounts = ServiceAccount.objects.owned_by(member.organization).enabled().filter(project__in=projects)
    heirs = list(accounts.in_order())
    return [
        LeftKeys(
            project=project,
            keys=[key for key in found if key.project_id == project.pk],
            heirs=[account for account in heirs if account.project_id == project.pk],
        )
        for project in sorted(projects.values(), key=lambda project: (project.name, project.pk))
    ]
