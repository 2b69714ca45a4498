"""Whose account an e-mail address is, when an organization that has verified its domain says whose the address is."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts.models import Domain, Organization, User
from portal.lib.domain_names import domain_of
from portal.lib.errors import DomainError

LONGEST_ADDRESS = 254


class AddressRefused(DomainError):
    code = "address_refused"


class AccountUnusable(DomainError):
    code = "account_unusable"


def check_address(organization: Organization, email: str) -> None:
    """Raise AddressRefused unless the organization may say whose an address is: it is of a domain that it verified.

    Letters beyond ASCII are refused: some that are others to the DNS are the same to a database (i, without its dot).
    """
    try:
        validate_email(email)
    except ValidationError as error:
        raise AddressRefused("It is an e-mail address that is none.") from error
    if not email.isascii() or len(email) > LONGEST_ADDRESS:
        raise AddressRefused(
            f"E-mail addresses here have at most {LONGEST_ADDRESS} letters, all of ASCII; write the domain encoded."
        )
    domain = domain_of(email)
    if not Domain.objects.owned_by(organization).verified().filter(name=domain).exists():
        raise AddressRefused(f"{domain} is no verified domain of this organization: verify it under Domains first.")


def is_same_address(one: str, other: str) -> bool:
    """Whether two addresses are one but for capitals. PostgreSQL's answer alone is not enough: see `check_address`."""
    return one.lower() == other.lower()


def owner_of_address(email: str) -> User | None:
    """Return who has proved that an address is theirs, or None."""
    for address in EmailAddress.objects.filter(email__iexact=email, verified=True).select_related("user"):
        if is_same_address(address.email, email):
            owner: User = address.user
            return owner
    return None


def account_of_address(email: str, *, full_name: str = "") -> User:
    """Return whose an address is, or a new person of that name.

    The caller has made sure that the address is of a verified domain. Somebody may have signed up with it without ever
    proving that it is theirs: whoever can prove it gets the account, and what could open it until then goes, sessions
    included. Raises AccountUnusable for a closed account, for staff, and where nobody can say whose it is.
    """
    owner = owner_of_address(email)
    if owner is not None:
        return _usable(owner)
    found = User.objects.select_for_update(no_key=True).filter(email__iexact=email)
    user = next((one for one in found if is_same_address(one.email, email)), None)
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
