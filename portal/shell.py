"""What the frame of every page shows: navigation, organizations, balance. All of it lazy: a partial asks for none."""

from functools import cached_property

from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import Membership, Organization, Permission, User
from accounts.selectors import memberships_of
from billing.selectors import budget_of
from portal.lib.tenancy import set_user
from portal.navigation import ORGANIZATION, PERSONAL, PUBLIC, Link, LinkGroup, links_for, overview_address


class Shell:
    """The frame as one request sees it."""

    def __init__(self, request: HttpRequest, *, in_transaction: bool = True) -> None:
        """in_transaction: whether this is rendered inside the request's transaction, as views are."""
        self._request = request
        self._in_transaction = in_transaction

    @property
    def membership(self) -> Membership | None:
        """The membership that the door (accounts.access) let in, or None outside an organization."""
        return getattr(self._request, "membership", None)

    @property
    def organization(self) -> Organization | None:
        return self.membership.organization if self.membership else None

    @property
    def may_keep(self) -> bool:
        """Whether the reader may take back that the organization is deleted."""
        return self.membership is not None and self.membership.may(Permission.OWN)

    @cached_property
    def navigation(self) -> tuple[LinkGroup, ...]:
        return links_for(ORGANIZATION, self.membership, self._request.path)

    @cached_property
    def personal_navigation(self) -> tuple[LinkGroup, ...]:
        return links_for(PERSONAL, None, self._request.path)

    @cached_property
    def public_navigation(self) -> tuple[LinkGroup, ...]:
        return links_for(PUBLIC, None, self._request.path)

    @cached_property
    def organizations(self) -> tuple[Link, ...]:
        """The reader's organizations by name, each leading to its overview."""
        return tuple(
            Link(
                label=membership.organization.name,
                icon="building-2",
                address=overview_address(membership.organization),
                current="true" if membership.organization == self.organization else "",
            )
            for membership in self._memberships()
        )

    def _memberships(self) -> list[Membership]:
        user = self._request.user
        if not isinstance(user, User):
            return []
        known: list[Membership] | None = getattr(self._request, "memberships", None)
        if known is not None:
            return known
        # Nobody came through the door.
        with transaction.atomic(savepoint=False):
            set_user(user.pk)
            return memberships_of(user)

    @cached_property
    def balance_nano(self) -> int | None:
        """What the organization may still spend, in nano-dollars; None for readers who may not see it."""
        if self.membership is None or not self._in_transaction or not self.membership.may(Permission.VIEW_SPEND):
            return None
        known: int | None = getattr(self._request, "balance_nano", None)
        return budget_of(self.membership.organization).remaining_nano if known is None else known

    @cached_property
    def home_address(self) -> str:
        """Where the name in the corner leads: the organization's overview, or the public home page."""
        return overview_address(self.organization) if self.organization else reverse("home")


def shell(request: HttpRequest) -> dict[str, object]:
    return {"shell": Shell(request)}
