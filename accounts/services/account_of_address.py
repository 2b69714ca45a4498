"""Whose account an e-mail address is, when an organization that has verified its domain says whose the address is."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import IntegrityError, transaction

from accounts.models import User
from portal.lib.errors import DomainError


class AccountUnusable(DomainError):
    code = "account_unusable"


def owner_of_address(email: str) -> User | None:
    """Return who has proved that an address is theirs, or None."""
    address = EmailAddress.objects.filter(email__iexact=email, verified=True).select_related("user").first()
    owner: User | None = address.user if address else None
    return owner


def account_of_address(email: str, *, full_name: str = "") -> User:
    """Return whose an address is, or a new person of that name.

    The caller has made sure that the address is of a verified domain. Somebody may have signed up with it without ever
    proving that it is theirs: whoever can prove it gets the account, and what could open it until then goes, sessions
    included. Raises AccountUnusable for a closed account, for staff, and where nobody can say whose it is.
    """
    owner = owner_of_address(email)
    if owner is not None:
        return _usable(owner)
    user = User.objects.select_for_update().filter(email__iexact=email).first()
    if user is None:
        return _new(email, full_name)
    if EmailAddress.objects.filter(user=_usable(user), verified=True).exists():
        raise AccountUnusable("Somebody has this address in their account and has to confirm it first.")
    # Another password is also what ends sessions.
    user.set_unusable_password()
    user.full_name = full_name
    user.save(update_fields=["password", "full_name"])
    Authenticator.objects.filter(user=user).delete()
    SocialAccount.objects.filter(user=user).delete()
    EmailAddress.objects.filter(user=user).delete()
    EmailAddress.objects.create(user=user, email=email.lower(), verified=True, primary=True)
    return user


def _new(email: str, full_name: str) -> User:
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, None, full_name=full_name)
            EmailAddress.objects.create(user=user, email=email.lower(), verified=True, primary=True)
    except IntegrityError as error:
        raise AccountUnusable("Somebody is signing up with this address right now: try again.") from error
    return user


def _usable(user: User) -> User:
    if not user.is_active:
        raise AccountUnusable("The account with this address is closed.")
    if user.is_staff or user.is_superuser:
        raise AccountUnusable("Staff of this portal sign in by themselves: nobody else speaks for them.")
    return user
