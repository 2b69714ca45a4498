"""Everything between an empty database and a portal that a newcomer can click through; safe to repeat."""

import json
import secrets
from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import BaseCommand, CommandError, call_command
from django.db import transaction
from django.utils import timezone

from accounts.models import Organization, Scope, User
from accounts.models.api_key import OperatorScope
from accounts.services.api_keys import CUSTOMER_SCOPES, issue_key
from accounts.services.operator_keys import issue_operator_key
from accounts.services.organizations import create_organization
from accounts.services.staff import ensure_staff_groups
from catalog.models import ServedModel
from compute.services.pools import ensure_demo_pools
from inference.services.deployments import point_models_at
from portal.lib.key_format import KeyKind
from portal.lib.tenancy import as_platform

DEMO_EMAIL = "demo@headroom.example"
DEMO_ORGANIZATION = "Acme AI"


@dataclass(frozen=True, slots=True)
class SignIn:
    email: str
    password: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What var/demo.json holds, for scripts and first-time users (development only)."""

    url: str
    email: str
    password: str
    organization: str  # slug
    project: str  # public id
    api_key: str
    management_key: str
    operator_key: str
    model: str
    staff: dict[str, SignIn]


class Command(BaseCommand):
    help = "Migrate, load the price list and make demonstration data (development only)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo-file", type=Path, required=True)

    def handle(self, *args: Any, demo_file: Path, **options: Any) -> None:
        if not settings.DEVELOPMENT:
            raise CommandError("This makes people with known passwords: it runs in development mode only.")
        call_command("migrate", database="owner", verbosity=0, interactive=False)
        call_command("load_catalog", verbosity=0, stdout=self.stdout)
        with as_platform():
            # With each start: what an upgrade brings is there for who works here already.
            ensure_staff_groups()
            point_models_at(base_url=settings.MODEL_UPSTREAM_URL, now=timezone.now())
            ensure_demo_pools()
            self._demonstrate(demo_file)

    def _demonstrate(self, demo_file: Path) -> None:
        if demo_file.exists() and User.objects.filter(email=DEMO_EMAIL).exists():
            # The address follows the port of this run; everything else stays.
            known = json.loads(demo_file.read_text()) | {"url": settings.PORTAL_URL}
        else:
            known = asdict(make_demonstration())
        demo_file.touch(mode=0o600)
        demo_file.write_text(json.dumps(known, indent=2) + "\n")


@transaction.atomic
def make_demonstration() -> Demonstration:
    """Make a customer with keys, and one staff member per group."""
    now = timezone.now()
    customer = _sign_in(DEMO_EMAIL)
    owner = _person(customer, full_name="Dana Demo")
    organization = owner.memberships.select_related("organization").first()
    tenant = (
        organization.organization
        if organization
        else create_organization(owner=owner, name=DEMO_ORGANIZATION, kind=Organization.Kind.STARTUP, now=now)
    )
    project = tenant.projects.in_order()[0]
    key = issue_key(project=project, name="Demonstration", scopes=CUSTOMER_SCOPES, created_by=owner, now=now)
    management = issue_key(
        project=project,
        name="Demonstration, management",
        scopes=[Scope.KEYS_WRITE],
        created_by=owner,
        now=now,
        kind=KeyKind.MANAGEMENT,
    )
    operator = issue_operator_key(name="Demonstration scheduler", scopes=list(OperatorScope), by=None, now=now)
    return Demonstration(
        url=settings.PORTAL_URL,
        email=customer.email,
        password=customer.password,
        organization=tenant.slug,
        project=project.public_id,
        api_key=key.secret,
        management_key=management.secret,
        operator_key=operator.secret,
        model=ServedModel.objects.filter(kind=ServedModel.Kind.CHAT, is_listed=True).order_by("name")[0].name,
        staff={group.name: _staff_member(group) for group in ensure_staff_groups().values()},
    )


def _staff_member(group: Group) -> SignIn:
    sign_in = _sign_in(f"{group.name.lower().replace(' ', '-')}@staff.headroom.example")
    user = _person(sign_in, full_name=f"{group.name} staff")
    user.is_staff = True
    user.save(update_fields=["is_staff"])
    user.groups.set([group])
    return sign_in


def _sign_in(email: str) -> SignIn:
    return SignIn(email, secrets.token_urlsafe(12))


def _person(sign_in: SignIn, *, full_name: str) -> User:
    user, _ = User.objects.get_or_create(email=sign_in.email, defaults={"full_name": full_name})
    user.set_password(sign_in.password)
    user.save(update_fields=["password"])
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    return user
