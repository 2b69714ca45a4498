"""Erase a person: what says who they are goes; what they did stays, under a public id that leads to nobody.

Which columns that are, and which stay and why: docs/retention.md. Higher apps need no part in it: they refer to people
by number and public id only.
"""

import json
import re
from collections.abc import Collection
from datetime import datetime
from functools import partial

import structlog
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import ApiKey, AuditOrigin, DirectoryPerson, Invitation, Membership, Organization, Role, User
from accounts.selectors import is_only_break_glass
from accounts.services.api_keys import revoke_personal_keys
from accounts.services.audit import person, record_event
from accounts.services.mails import mail_person
from accounts.services.members import ONLY_BREAK_GLASS
from portal.lib.context import Origin, current_origin, remember_origin
from portal.lib.errors import DomainError
from portal.lib.sessions import content_of

log = structlog.get_logger(__name__)


class UnableToErase(DomainError):
    code = "unable_to_erase"


@transaction.atomic
def erase_person(*, user: User, now: datetime) -> User:
    """Take away what identifies a person, in every organization; nobody can ever sign in to the account again.

    For the platform role: organizations that the person has left know them too. Where this request came from is noted
    nowhere. Raises UnableToErase for staff, the only owner of an organization, and under a legal hold.
    """
    # Not against rows that refer to the person: whoever writes one may hold an organization, our next lock.
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    organizations = _lock_organizations(user)
    _refuse(user, organizations)

    identifiers = {user.email, *EmailAddress.objects.filter(user=user).values_list("email", flat=True)}
    email = user.email
    _end_sessions(user, identifiers)
    EmailAddress.objects.filter(user=user).delete()
    Authenticator.objects.filter(user=user).delete()
    SocialAccount.objects.filter(user=user).delete()
    AuditOrigin.objects.filter(actor_id__in=_actors(user)).delete()
    addresses = [address.lower() for address in identifiers]
    _forget_in_directories(user, addresses)
    Membership.objects.of_user(user).delete()
    Invitation.objects.filter(email__in=addresses).delete()
    ApiKey.objects.filter(created_by=user).update(last_used_address="", last_used_agent="")
    _forget_in_staff_log(user, identifiers)
    _make_nobody(user, now)

    remember_origin(Origin(request_id=current_origin().request_id))
    for organization in organizations:
        revoke_personal_keys(organization=organization, user=user, now=now)
        record_event(
            "member.erased",
            organization_id=organization.pk,
            target=("user", user.public_id),
            actor=person(user),
            now=now,
        )
    # After that nobody here knows the address any more, so there is no trying again.
    transaction.on_commit(partial(mail_person, "person_erased", email=email), robust=True)
    log.info("accounts.person.erased", user=user.public_id, organizations=len(organizations))
    return user


def _lock_organizations(user: User) -> list[Organization]:
    """Lock what the person belongs to, so that two owners who go at once cannot leave an organization without any."""
    mine = Membership.objects.of_user(user).values("organization")
    return list(Organization.objects.filter(pk__in=mine).order_by("pk").select_for_update(no_key=True))


def _refuse(user: User, organizations: list[Organization]) -> None:
    if user.is_staff:
        raise UnableToErase(_("Accounts of staff are ended by who gave them out."))
    known_in = AuditOrigin.objects.filter(actor_id__in=_actors(user), organization__legal_hold=True)
    if known_in.exists() or any(organization.legal_hold for organization in organizations):
        raise UnableToErase(_("We are obliged to keep what you did here for now. Write to us, and we say until when."))
    owners = Membership.objects.filter(organization__in=organizations, role=Role.OWNER)
    others = set(owners.exclude(user=user).values_list("organization", flat=True))
    mine = set(owners.filter(user=user).values_list("organization", flat=True))
    still_open = [organization for organization in organizations if organization.closed_at is None]
    alone = [organization.name for organization in still_open if organization.pk in mine - others]
    if any(is_only_break_glass(mine) for mine in Membership.objects.of_user(user).select_related("organization")):
        raise UnableToErase(ONLY_BREAK_GLASS)
    if alone:
        raise UnableToErase(
            _("You are the only owner of %(names)s. Make another member an owner first, or delete it.")
            % {"names": ", ".join(alone)}
        )


def _actors(user: User) -> list[str]:
    """Return the public ids under which the person acted: their own, and those of keys that they made."""
    return [user.public_id, *ApiKey.objects.filter(created_by=user).values_list("public_id", flat=True)]


def _end_sessions(user: User, identifiers: Collection[str]) -> None:
    """Delete the person's sessions, and those in which somebody was about to sign in with one of their addresses."""
    words = [word.lower() for word in identifiers]
    ended = [
        session.pk
        for session in Session.objects.iterator()
        if (content := content_of(session)).get(SESSION_KEY) == str(user.pk)
        or any(word in json.dumps(content, ensure_ascii=False, default=str).lower() for word in words)
    ]
    Session.objects.filter(pk__in=ended).delete()
    UserSession.objects.filter(user=user).delete()


def _forget_in_directories(user: User, addresses: Collection[str]) -> None:
    """Delete what directories said of the person; one that goes on to list them makes a new account."""
    known = Q(membership__user=user) | Q(email__in=addresses)
    for address in addresses:
        known |= Q(user_name__iexact=address)
    DirectoryPerson.objects.filter(known).delete()


def _forget_in_staff_log(user: User, identifiers: Collection[str]) -> None:
    """Let the admin's log name the person by public id; it calls people and what is theirs by address.

    An address counts as a whole only: joann@example.com is not ann@example.com.
    """
    mentions = Q()
    for word in identifiers:
        whole = rf"(^|[^a-z0-9._%+-]){re.escape(word)}\.?($|[^a-z0-9.-])"
        mentions |= Q(object_repr__iregex=whole) | Q(change_message__iregex=whole)
    LogEntry.objects.filter(mentions).update(object_repr=user.public_id, change_message="")


def _make_nobody(user: User, now: datetime) -> None:
    # Nothing is ever delivered to .invalid, and nobody can have such an address.
    user.email = f"{user.public_id}@erased.invalid"
    user.full_name = ""
    user.time_zone = "UTC"
    user.set_unusable_password()
    user.last_login = None
    user.is_active = user.is_staff = user.is_superuser = False
    user.erased_at = now
    user.save()
    user.groups.clear()
    user.user_permissions.clear()
