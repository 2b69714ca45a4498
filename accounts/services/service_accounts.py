"""Create, disable, enable and delete service accounts, and hand keys over to them.

Whoever changes an account locks it first and its keys after it: a key that is issued at the same time is either seen
here, or sees what was done.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from accounts.models import ApiKey, Project, Scope, ServiceAccount, User
from accounts.models.service_account import LONGEST_DESCRIPTION
from accounts.services.api_keys import revoke_key
from accounts.services.audit import Changes, person, record_event
from portal.lib.errors import DomainError

MAXIMUM_ACCOUNTS = 100


class UnableToCreateServiceAccount(DomainError):
    code = "unable_to_create_service_account"


class UnableToChangeServiceAccount(DomainError):
    code = "unable_to_change_service_account"


class UnableToHandOverKeys(DomainError):
    code = "unable_to_hand_over_keys"


@transaction.atomic
def create_service_account(
    *,
    project: Project,
    name: str,
    description: str,
    scopes: Sequence[Scope],
    created_by: User | None,
    now: datetime,
) -> ServiceAccount:
    """Let a program be a member of a project. scopes: the most that any of its keys may do.

    Raises UnableToCreateServiceAccount for an empty or taken name, no scope, too many accounts or a closed
    organization.
    """
    name, description = " ".join(name.split()), description.strip()[:LONGEST_DESCRIPTION]
    if not name:
        raise UnableToCreateServiceAccount("Give the service account a name, so that you know later what it runs.")
    if not scopes:
        raise UnableToCreateServiceAccount("Choose at least one thing that it may do.")
    # As issue_key locks them, and for the same reasons.
    locked = Project.objects.select_for_update(no_key=True).select_related("organization")
    project = locked.get(pk=project.pk)
    if project.organization.closed_at is not None:
        raise UnableToCreateServiceAccount("This organization is closed.")
    siblings = ServiceAccount.objects.present().filter(project=project)
    if siblings.count() >= MAXIMUM_ACCOUNTS:
        raise UnableToCreateServiceAccount(f"A project has at most {MAXIMUM_ACCOUNTS} service accounts.")
    if siblings.filter(name__iexact=name).exists():
        raise UnableToCreateServiceAccount(f"There is already a service account called {name} in this project.")
    account = ServiceAccount.objects.create(
        organization=project.organization,
        project=project,
        name=name,
        description=description,
        scopes=[scope.value for scope in scopes],
        created_by=created_by,
        created_at=now,
    )
    _record(
        "service_account.created",
        account,
        now,
        {"name": (None, name), "project": (None, project.public_id), "scopes": (None, list(account.scopes))},
        created_by,
    )
    return account


@transaction.atomic
def disable_service_account(*, account: ServiceAccount, now: datetime) -> ServiceAccount:
    """Let an account's keys rest, on every process within a second; disabling a disabled one changes nothing.

    Raises UnableToChangeServiceAccount for a deleted one.
    """
    account = _lock_present(account)
    if account.disabled_at is None:
        account.disabled_at = now
        account.save(update_fields=["disabled_at"])
        _lock_keys(account)
        account.api_keys.unrevoked().update(disabled_at=now, changed_at=now)
        _record("service_account.disabled", account, now)
    return account


@transaction.atomic
def enable_service_account(*, account: ServiceAccount, now: datetime) -> ServiceAccount:
    """Let an account's keys work again; enabling an enabled one changes nothing.

    Raises UnableToChangeServiceAccount for a deleted one.
    """
    account = _lock_present(account)
    if account.disabled_at is not None:
        account.disabled_at = None
        account.save(update_fields=["disabled_at"])
        _lock_keys(account)
        account.api_keys.unrevoked().update(disabled_at=None, changed_at=now)
        _record("service_account.enabled", account, now)
    return account


@transaction.atomic
def delete_service_account(*, account: ServiceAccount, now: datetime) -> ServiceAccount:
    """End an account and its keys for good; what they used goes on naming it. Safe to repeat."""
    account = _lock(account)
    if account.deleted_at is not None:
        return account
    account.deleted_at = now
    # The clocks of two machines may differ a little.
    account.disabled_at = min(account.disabled_at or now, now)
    account.save(update_fields=["deleted_at", "disabled_at"])
    for api_key in _lock_keys(account):
        revoke_key(api_key=api_key, now=now)
    _record("service_account.deleted", account, now, {"name": (account.name, None)})
    return account


@transaction.atomic
def hand_over_keys(*, made_by: User, account: ServiceAccount, now: datetime) -> int:
    """Give the keys that a person made in the account's project to the account; return how many.

    Not those that they made for themselves, nor those that are another account's. Raises UnableToHandOverKeys when
    the account is not enabled, or when one of them may do more than it.
    """
    account = _lock(account)
    if account.state is not ServiceAccount.State.ENABLED:
        raise UnableToHandOverKeys(f"The service account {account.name} is disabled.")
    keys = ApiKey.objects.owned_by(account.organization).unrevoked().left_by(made_by).filter(project=account.project_id)
    found = list(keys.select_for_update(no_key=True).order_by("pk"))
    for api_key in found:
        if beyond := sorted(set(api_key.scopes) - set(account.scopes)):
            raise UnableToHandOverKeys(
                f"The key {api_key.name} may do what the service account {account.name} may not: {', '.join(beyond)}."
            )
    ApiKey.objects.filter(pk__in=[api_key.pk for api_key in found]).update(service_account=account)
    for api_key in found:
        record_event(
            "key.handed_over",
            organization_id=account.organization_id,
            target=("key", api_key.public_id),
            changes={"service_account": (None, account.public_id)},
            now=now,
        )
    return len(found)


def _lock(account: ServiceAccount) -> ServiceAccount:
    # Not its project, which whoever issues a key locks before it.
    locked = ServiceAccount.objects.select_for_update(no_key=True, of=("self",))
    return locked.select_related("project").get(pk=account.pk)


def _lock_present(account: ServiceAccount) -> ServiceAccount:
    account = _lock(account)
    if account.deleted_at is not None:
        raise UnableToChangeServiceAccount("This service account has been deleted.")
    return account


def _lock_keys(account: ServiceAccount) -> list[ApiKey]:
    return list(account.api_keys.unrevoked().select_for_update().order_by("pk"))


def _record(
    action: str, account: ServiceAccount, now: datetime, changes: Changes | None = None, by: User | None = None
) -> None:
    record_event(
        action,
        organization_id=account.organization_id,
        target=("service_account", account.public_id),
        changes=changes,
        actor=person(by) if by else None,
        now=now,
    )
