"""What an organization may still change while its work is stopped for an unpaid bill. Rules: docs/adr/0036.

Billing says when that is (`Organization.payment_state`); the doors of `accounts.access` ask here.
"""

from http import HTTPStatus
from typing import ClassVar

from django.utils.translation import gettext as _

from accounts.models import CLOSED_WHILE_STOPPED, Organization, Permission
from portal.lib.errors import DomainError


class OrganizationSuspended(DomainError):
    """Nothing new until the bill is paid; `str(error)` says the way back."""

    status: ClassVar[HTTPStatus] = HTTPStatus.PAYMENT_REQUIRED
    code: ClassVar[str] = "organization_suspended"

    def __init__(self) -> None:
        super().__init__(
            _(
                "This organization is suspended for an unpaid bill. Pay it under Invoices or Credit, and this works"
                " again at once; until then you may read, pay, export, end things and leave."
            )
        )


_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def refuse_while_stopped(
    organization: Organization, permission: Permission, method: str | None, *, is_open: bool | None
) -> None:
    """Raise OrganizationSuspended if the organization's work is stopped and this kind of change is not open then.

    method: of the request; those that read are always open. is_open: what the door says of itself; None: the rule of
    its permission holds.
    """
    if method in _READING or not organization.is_stopped:
        return
    if not (permission not in CLOSED_WHILE_STOPPED if is_open is None else is_open):
        raise OrganizationSuspended
