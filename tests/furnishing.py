"""An organization in which everything has happened, for the pages that show it.

An app whose objects look different in different states adds them here, by the word that tests/policy.py uses:
every page of such an object is looked at in each of them.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F

from accounts.models import (
    ApiKey,
    AuditEndpoint,
    DirectoryToken,
    Domain,
    DomainState,
    EndpointState,
    Invitation,
    InvitationState,
    KeyLeak,
    Membership,
    Organization,
    Overlap,
    RateLimit,
    Role,
    ServiceAccount,
    User,
)
from accounts.models.invitation import LIFE
from accounts.models.service_account import LONGEST_DESCRIPTION
from accounts.services.api_keys import revoke_key
from accounts.services.audit_endpoints import rotate_endpoint_secret
from accounts.services.directory_tokens import revoke_directory_token
from accounts.services.key_rotation import rotate_key
from accounts.services.service_accounts import disable_service_account
from billing.models import Dispute, Payment, PaymentMethod, Refund, SpendCap
from billing.services.caps import CapTarget
from billing.services.usage import record_usage
from catalog.models import LeaseClass, ServedModel
from compute.models import Instance, InstanceEvent
from compute.reconcile import FINAL, State, Want
from compute.services.launching import launch_instances
from inference.models import Receipt
from inference.selectors import PAGE_SIZE
from tests.factories.accounts import (
    make_audit_endpoint,
    make_directory_group,
    make_directory_person,
    make_directory_token,
    make_domain,
    make_invitation,
    make_key,
    make_membership,
    make_organization,
    make_project,
    make_service_account,
    make_sso_connection,
    make_sso_identity,
    make_user,
)
from tests.factories.billing import (
    make_anomaly,
    make_auto_reload,
    make_bought_credit,
    make_cap,
    make_cap_warning,
    make_card,
    make_cost_tags,
    make_dispute,
    make_invoice,
    make_payment,
    make_record,
    make_refund,
)
from tests.factories.compute import make_pool, make_request, make_ssh_key
from tests.factories.inference import make_receipt
from tests.factories.terms import make_details

# As long as a name may be, without a place to break.
LONG_NAME = "a-name-that-somebody-took-the-whole-width-of-the-field-for"
KEY_STATES = ["active", "expired", "revoked", "disabled"]
# Word -> the states in which there is one in a furnished organization.
STATES: dict[str, list[str]] = {
    "key": KEY_STATES,
    "audit_endpoint": [*(state.value for state in EndpointState), "paused_by_portal"],
    "service_account": ["enabled", "disabled"],
    "instance": [state.value for state in State],
    "domain": [state.value for state in DomainState],
    "directory_token": KEY_STATES,
    "receipt": [status.value for status in Receipt.Status],
    "cap": ["open", "full", "warns_only"],
    "rate_limit": ["project", "key"],
    "payment": [*(state.value for state in Payment.State), "unspent", "disputed", "charged"],
    "invoice": ["paid"],
    "card": ["default", "other", "expired"],
}


def _invited(state: InvitationState) -> Callable[[User], str]:
    """Return what invites a person whose invitation has come to that state, and returns the token of its link."""

    def invite(user: User) -> str:
        now = datetime.now(UTC)
        organization = make_organization(LONG_NAME, owner=(owner := make_user()))
        project = make_project(organization, LONG_NAME)
        invitation, token = make_invitation(organization, user.email, invited_by=owner, now=now, project=project)
        change = {
            InvitationState.OPEN: {},
            InvitationState.EXPIRED: {"expires_at": now},
            InvitationState.REVOKED: {"revoked_at": now},
            InvitationState.ACCEPTED: {"accepted_at": now},
        }[state]
        Invitation.objects.filter(pk=invitation.pk).update(expires_at=change.pop("expires_at", now + LIFE), **change)
        return token

    return invite


# The same for what belongs to a person: word -> state -> makes it.
PERSONAL_STATES: dict[str, dict[str, Callable[[User], str]]] = {
    "invitation_token": {state.value: _invited(state) for state in InvitationState}
}


def furnish(organization: Organization, now: datetime) -> dict[str, dict[str, str]]:
    """Fill an organization with one of everything in every state; return word -> state -> its name in the URL."""
    make_project(organization, LONG_NAME)
    for role in Role:
        make_membership(organization, role=role)
    _invitations(organization, now)
    make_ssh_key(organization, LONG_NAME)
    accounts = _service_accounts(organization, now)
    objects = {
        "key": _keys(organization, now),
        "audit_endpoint": _audit_endpoints(organization, now),
        "service_account": accounts,
        "instance": _instances(organization, now),
        "receipt": _receipts(organization, now),
        "domain": _domains(organization, now),
        "directory_token": _directory(organization, now),
    }
    _sign_on(organization)
    _usage(organization, now)
    payments = {state.value: make_payment(organization, state=state, now=now).public_id for state in Payment.State}
    payments["unspent"] = make_bought_credit(organization, now=now).public_id
    refunded = Payment.objects.get(public_id=payments["succeeded"])
    for refund_state in (one for one in Refund.State if one != Refund.State.ASKED and one not in Refund.ON_THE_WAY):
        make_refund(refunded, state=refund_state, reason=LONG_NAME * 5, now=now)
    make_refund(refunded, now=now)
    cards = {
        "default": make_card(organization, is_default=True, now=now).public_id,
        "other": make_card(organization, brand="b" * 24, now=now).public_id,
        "expired": make_card(organization, expires_year=2020, now=now).public_id,
    }
    make_auto_reload(organization, is_on=False, now=now)
    charged = make_payment(organization, state=Payment.State.FAILED, now=now)
    Payment.objects.filter(pk=charged.pk).update(
        card=PaymentMethod.objects.get(public_id=cards["default"]), failure="authentication_required"
    )
    payments["charged"] = charged.public_id
    disputed = make_bought_credit(organization, now=now)
    for dispute_state in (one for one in Dispute.State if one not in Dispute.CONTESTED):
        make_dispute(disputed, state=dispute_state, now=now)
    payments["disputed"] = disputed.public_id
    make_details(organization, legal_name=LONG_NAME, now=now)
    paid = make_invoice(organization.projects.order_by("pk")[0], now=now)
    return objects | {
        "cap": _caps(organization, now),
        "rate_limit": _rate_limits(organization, now),
        "invoice": {"paid": paid.public_id},
        "payment": payments,
        "card": cards,
    }


def _rate_limits(organization: Organization, now: datetime) -> dict[str, str]:
    """Some, all and none of the rates set, over a project, a key and the whole."""
    project, key = (
        organization.projects.order_by("pk")[0],
        organization.api_keys.filter(revoked_at=None).order_by("pk")[0],
    )
    largest = {"requests_per_minute": 1_000_000_000, "tokens_per_minute": 1_000_000_000}

    def limit(over: dict[str, Any], **rates: int) -> str:
        of_target = {"organization": organization, "project": None, "api_key": None} | over
        return RateLimit.objects.update_or_create(**of_target, defaults={"changed_at": now, **rates})[0].public_id

    limit({}, tokens_per_minute=90_000_000)
    return {"project": limit({"project": project}, concurrent_requests=1), "key": limit({"api_key": key}, **largest)}


def _caps(organization: Organization, now: datetime) -> dict[str, str]:
    """One over each kind of thing, and a warning of each kind."""
    project, other = organization.projects.order_by("pk")[:2]
    key = organization.api_keys.filter(revoked_at=None).order_by("pk")[0]
    made = {
        "open": make_cap(project, now=now),
        "full": make_cap(other, period=SpendCap.Period.WEEK, now=now),
        "warns_only": make_cap(
            project, CapTarget(organization, api_key=key), period=SpendCap.Period.LIFETIME, stops=False, now=now
        ),
    }
    make_cap(project, CapTarget(organization), period=SpendCap.Period.DAY, now=now)
    SpendCap.objects.filter(pk=made["full"].pk).update(settled_nano=F("limit_nano") - F("reserved_nano"))
    make_anomaly(organization, now=now)
    make_cost_tags(other, f"4711 of {organization.slug}", now=now)
    make_cost_tags(project, LONG_NAME[:80], now=now, team="x" * 80)
    make_cost_tags(project, "=4712", now=now + timedelta(days=1))
    for percent in (0, 100):
        make_cap_warning(made["full"], percent, now=now)
    return {state: cap.public_id for state, cap in made.items()}


def _sign_on(organization: Organization) -> None:
    """A provider that somebody has come through, and an owner who may enter without it: it can be required."""
    connection = make_sso_connection(organization, f"https://{'login.' * 30}example/{LONG_NAME * 4}")
    owner = organization.memberships.filter(role=Role.OWNER).order_by("-pk")[0]
    make_sso_identity(connection, owner)
    Membership.objects.filter(pk=owner.pk).update(is_break_glass=True)


def _invitations(organization: Organization, now: datetime) -> None:
    """A member with a long name, and invitations that wait, one of them for too long."""
    owner = User.objects.create_user(f"{LONG_NAME}@example.com", None, full_name=LONG_NAME)
    make_membership(organization, owner)
    project = organization.projects.in_order()[1]
    make_invitation(organization, f"{LONG_NAME}@example.net", invited_by=owner, now=now, project=project)
    make_invitation(organization, "late@example.com", invited_by=owner, now=now - 2 * LIFE)


def _service_accounts(organization: Organization, now: datetime) -> dict[str, str]:
    project = organization.projects.in_order()[0]
    made = {state: make_service_account(project, f"{state}-{LONG_NAME}"[:80]) for state in STATES["service_account"]}
    for account in made.values():
        make_key(project, now=now, service_account=account)
    ServiceAccount.objects.filter(pk=made["enabled"].pk).update(description="x" * LONGEST_DESCRIPTION)
    disable_service_account(account=made["disabled"], now=now)
    return {state: account.public_id for state, account in made.items()}


def _keys(organization: Organization, now: datetime) -> dict[str, str]:
    project = organization.projects.in_order()[0]
    made = {state: make_key(project, now=now - timedelta(days=1)).api_key for state in KEY_STATES}
    account = ServiceAccount.objects.owned_by(organization).get(disabled_at__isnull=False)
    ApiKey.objects.filter(pk=made["disabled"].pk).update(service_account=account, disabled_at=now)
    revoke_key(api_key=made["revoked"], now=now)
    KeyLeak.objects.create(
        organization=organization,
        api_key=made["revoked"],
        is_former_secret=False,
        last_four=made["revoked"].last_four,
        url="https://code.example/" + "x" * 400,
        reported_by="scanner",
        reported_at=now,
    )
    ApiKey.objects.filter(pk=made["expired"].pk).update(expires_at=now - timedelta(hours=1))
    rotate_key(api_key=made["active"], overlap=Overlap.WEEK, now=now)
    ApiKey.objects.filter(pk=made["active"].pk).update(
        last_used_at=now,
        last_used_address="2001:db8:1234:5678:9abc:def0:1234:5678",
        last_used_agent="program/" + "x" * 192,
        allowed_models=["m" * 120, "demo-chat"],
        allowed_addresses=["2001:db8:1234:5678:9abc:def0:1234:5678/128"] * 50,
        name=f"key-{LONG_NAME}",
    )
    return {state: key.public_id for state, key in made.items()}


def _audit_endpoints(organization: Organization, now: datetime) -> dict[str, str]:
    """One that takes everything, one that fails, one that a member paused and one that the portal did."""
    failing: dict[str, object] = {"failure_count": 3, "failing_since": now, "next_try_at": now + timedelta(minutes=1)}
    failing |= {"last_tried_at": now, "last_problem": "no whole answer within 5 seconds"}
    changes: dict[str, dict[str, object]] = {
        "active": {"delivered_at": now, "last_tried_at": now, "last_status": 204, "last_was_test": True},
        "failing": failing,
        "paused": {"paused_at": now, "pause_reason": "asked", "test_requested_at": now},
        "paused_by_portal": failing | {"paused_at": now, "pause_reason": "failing", "failure_count": 20},
    }
    made = {}
    for state, fields in changes.items():
        endpoint = make_audit_endpoint(organization, f"https://{state.replace('_', '-')}.example.com/{'x' * 450}")
        AuditEndpoint.objects.filter(pk=endpoint.pk).update(**fields)
        made[state] = endpoint.public_id
    rotate_endpoint_secret(endpoint=AuditEndpoint.objects.get(public_id=made["active"]), overlap=Overlap.WEEK, now=now)
    return made


def _instances(organization: Organization, now: datetime) -> dict[str, str]:
    project = organization.projects.in_order()[0]
    pool = make_pool(total_units=100)
    made = {}
    for number, state in enumerate(State):
        request = make_request(project, pool=pool, name=LONG_NAME if state == State.ACTIVE else f"train-{number}")
        instance = launch_instances(request=request, now=now - timedelta(minutes=3)).instances[0]
        fields: dict[str, object] = {"state": state.value, "state_since": now - timedelta(minutes=1)}
        if state in FINAL:
            fields |= {"want": Want.TERMINATED.value, "ended_at": now}
        elif state not in (State.QUEUED, State.PROVISIONING, State.BOOTING):
            fields |= {"host": "198.51.100.7", "port": 2222, "usable_at": now - timedelta(minutes=2)}
        if state in (State.STOPPING, State.STOPPED):
            fields["want"] = Want.STOPPED.value
        if state == State.TERMINATING:
            fields["want"] = Want.TERMINATED.value
        if state == State.FAILED:
            fields["failure_reason"] = "The machine did not answer within ten minutes."
        Instance.objects.filter(pk=instance.pk).update(**fields)
        InstanceEvent.objects.create(
            organization=organization, instance=instance, at=now, state=state.value, text=f"It is {state.value}."
        )
        made[state.value] = instance.public_id
    return made


def _domains(organization: Organization, now: datetime) -> dict[str, str]:
    """One in each state, two of them with as long a name as there may be."""
    # A verified domain is nobody else's.
    longest = ".".join(["d" * 63, "e" * 63, organization.slug[:30].ljust(63, "f")])
    pending = make_domain(organization, f"{longest}.pending.example", verified_at=None)
    verified = make_domain(organization, f"{organization.slug[:30]}.xn--bcher-kva.example", join_role=Role.DEVELOPER)
    failing = make_domain(organization, f"{longest}.failing.example")
    Domain.objects.filter(pk=failing.pk).update(failing_since=now - timedelta(days=1))
    made = {DomainState.PENDING: pending, DomainState.VERIFIED: verified, DomainState.FAILING: failing}
    return {state.value: domain.public_id for state, domain in made.items()}


def _directory(organization: Organization, now: datetime) -> dict[str, str]:
    """A token in each state, people active and not, groups with and without a role, with names as long as may be."""
    owner = organization.memberships.filter(role=Role.OWNER).order_by("pk")[0]
    # So that there is room for one more.
    DirectoryToken.objects.owned_by(organization).update(revoked_at=now)
    revoked = make_directory_token(owner, now=now, name=LONG_NAME).token
    revoke_directory_token(token=revoked, now=now)
    expired = make_directory_token(owner, now=now).token
    DirectoryToken.objects.filter(pk=expired.pk).update(expires_at=now - timedelta(days=1))
    active = make_directory_token(owner, now=now, name=LONG_NAME).token
    DirectoryToken.objects.filter(pk=active.pk).update(last_used_at=now)
    member = make_membership(organization, role=Role.DEVELOPER)
    people = [
        make_directory_person(organization, f"{LONG_NAME}@directory.example", membership=member, name=LONG_NAME),
        *(make_directory_person(organization, f"person{number}@directory.example") for number in range(60)),
    ]
    make_directory_group(organization, "g" * 200, *people, role=Role.DEVELOPER)
    make_directory_group(organization, "Everybody", *people[:3])
    return {"active": active.public_id, "expired": expired.public_id, "revoked": revoked.public_id}


def _receipts(organization: Organization, now: datetime) -> dict[str, str]:
    key = ApiKey.objects.filter(organization=organization).first()
    made = {}
    for number, status in enumerate(Receipt.Status):
        free = status in (Receipt.Status.EMPTY, Receipt.Status.FAILED)
        cost = Decimal(0) if free else Decimal("0.0011")
        at = now - timedelta(minutes=number + 1)
        receipt = make_receipt(organization, requested_at=at, status=status, cost_usd=cost, api_key=key)
        made[status.value] = receipt.request_id
    for number in range(PAGE_SIZE):
        make_receipt(organization, requested_at=now - timedelta(hours=number + 1), is_stream=True, first_token_ms=87)
    return made


def _usage(organization: Organization, now: datetime) -> None:
    """Three weeks of tokens and machine time, in two projects."""
    model = ServedModel.objects.order_by("pk")[0]
    instance_type = Instance.objects.filter(organization=organization)[0].instance_type
    key = ApiKey.objects.filter(organization=organization).first()
    skus = [model.sku(ServedModel.TokenKind.INPUT), model.sku(ServedModel.TokenKind.OUTPUT)]
    skus.append(instance_type.sku(LeaseClass.ON_DEMAND))
    projects = list(organization.projects.in_order())
    records = [
        make_record(
            projects[number % len(projects)],
            1_000 + 37 * number,
            sku=skus[number % len(skus)],
            occurred_at=now - timedelta(hours=11 * number),
            resource_id=f"resource-{number % 5}",
            api_key_id=key.pk if key else None,
        )
        for number in range(45)
    ]
    record_usage(records, reservation_id=None, now=now)
