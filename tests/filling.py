"""A row in every table of an organization, by one person, with a word of its own wherever there is text to choose."""

import gzip
import hashlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from accounts.models import KeyLeak, Notice, Organization, Overlap, RateLimit, Scope, User
from accounts.services import audit
from accounts.services.api_keys import issue_key
from accounts.services.key_rotation import rotate_key
from accounts.services.organizations import rename_project
from accounts.services.service_accounts import create_service_account
from billing.models import (
    AutoReload,
    BankTransfer,
    Contract,
    CreditNote,
    Dispute,
    GivenUpDebt,
    Invoice,
    InvoiceFile,
    SpendAnomaly,
    SpendCap,
    UsageFate,
    WriteOff,
)
from billing.selectors.invoice_files import STORAGE
from billing.services.caps import CapTarget
from billing.services.contracts import AgreedPrice
from billing.services.cost_tags import set_cost_tags
from billing.services.usage import record_usage
from catalog.models import ServedModel
from catalog.services.prices import next_hour
from compute.models import HealthInterval
from compute.services.ssh_keys import generate_ssh_key
from portal.lib.context import Origin, forget, remember_actor, remember_origin
from tests.factories.accounts import (
    SIGNING_SECRET,
    make_audit_endpoint,
    make_directory_group,
    make_directory_person,
    make_directory_token,
    make_domain,
    make_invitation,
    make_organization,
    make_project_membership,
    make_sso_connection,
    make_sso_identity,
)
from tests.factories.billing import (
    make_anomaly,
    make_auto_reload,
    make_cap,
    make_cap_warning,
    make_card,
    make_contract,
    make_credit_note,
    make_dispute,
    make_given_up_debt,
    make_goodwill,
    make_invoice,
    make_payment,
    make_price_notice,
    make_record,
    make_refund,
    make_reservation,
)
from tests.factories.catalog import make_proposal
from tests.factories.compute import make_instance
from tests.factories.inference import make_receipt
from tests.factories.terms import make_details, make_standing, make_terms, make_transfer

NOW = datetime.now(UTC).replace(microsecond=0)


def fill(organization: Organization, user: User, word: str) -> list[str]:
    """Put a row into every table of the organization, by a person, with the word wherever there is text to choose.

    Return the secrets that were made.
    """
    remember_actor_of(user, word)
    project = organization.projects.in_order()[0]
    rename_project(project=project, name=f"Project {word}", now=NOW)
    issued = issue_key(project=project, name=f"key {word}", scopes=[Scope.INFERENCE], created_by=user, now=NOW)
    pair = generate_ssh_key(organization=organization, name=f"laptop-{word}", created_by=user, now=NOW)
    instance = make_instance(NOW, project, name=f"box-{word}", launched_by=user, ssh_keys=[pair.ssh_key])
    HealthInterval.objects.create(
        organization=organization, instance=instance, started_at=NOW, confirmed_to=NOW, metered_to=NOW
    )
    receipt = make_receipt(organization, requested_at=NOW, api_key=issued.api_key, user=user)
    sku = receipt.served_model.sku(ServedModel.TokenKind.INPUT)
    usage = make_record(project, sku=sku, occurred_at=NOW, api_key_id=issued.api_key.pk, user_id=user.pk)
    record_usage([usage], reservation_id=None, now=NOW)
    make_fates(organization, word)
    make_reservation(project, now=NOW)
    cap = SpendCap.objects.of_organization(organization.pk).get()
    WriteOff.objects.create(
        organization=organization, cap=cap, amount_nano=1, reason=WriteOff.Reason.OVERRUN, created_at=NOW
    )
    RateLimit.objects.create(organization=organization, api_key=issued.api_key, requests_per_minute=60, changed_at=NOW)
    make_cap_warning(make_cap(project, CapTarget(organization, api_key=issued.api_key), now=NOW), now=NOW)
    set_cost_tags(project=project, tags={"cost-center": f"center {word}", "team": f"team {word}"}, now=NOW)
    if not SpendAnomaly.objects.filter(organization=organization).exists():
        make_anomaly(organization, now=NOW)
    pay(organization, user, word)
    own = AgreedPrice(sku, 1)
    # One after the other, in hours to come: nothing is priced with them.
    begins = next_hour(NOW) + timedelta(hours=Contract.objects.owned_by(organization).count())
    ends = begins + timedelta(hours=1)
    make_contract(organization, own, name=f"terms {word}", active_from=begins, active_to=ends, drafted_by=user, now=NOW)
    make_terms(organization, proposed_by=user, now=NOW)
    make_details(organization, legal_name=f"Works {word}", purchase_order=f"PO {word}", now=NOW)
    make_proposal(sku, user, now=NOW)
    make_price_notice(organization, sku, now=NOW)
    rotated = rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW)
    KeyLeak.objects.create(
        organization=organization,
        api_key=issued.api_key,
        is_former_secret=True,
        last_four="abcd",
        url=f"https://paste.example/{word}",
        reported_by="scanner",
        reported_at=NOW,
    )
    make_audit_endpoint(organization, f"https://hooks.example.com/{word}")
    create_service_account(
        project=project,
        name=f"robot {word}",
        description=f"for {word}",
        scopes=[Scope.INFERENCE],
        created_by=user,
        now=NOW,
    )
    make_invitation(organization, f"guest-{user.pk}@example.com", invited_by=user, now=NOW)
    make_project_membership(organization.memberships.get(user=user), project)
    member = organization.memberships.get(user=user)
    make_sso_identity(
        organization.sso_connections.first() or make_sso_connection(organization), member, subject=f"subject-{user.pk}"
    )
    domain = make_domain(organization, f"{word}-{organization.pk}.example".lower())
    Notice.objects.create(
        organization=organization, kind=Notice.Kind.DOMAIN_FAILING, subject_id=domain.public_id, created_at=NOW
    )
    membership = organization.memberships.get(user=user)
    token = make_directory_token(membership, now=NOW, name=f"directory {word}")
    listed = make_directory_person(
        organization, f"{word}-{user.pk}@example.com".lower(), membership=membership, name=f"person {word}"
    )
    make_directory_group(organization, f"group {word}", listed)
    forget()
    bill(organization, word)
    digest = bytes(issued.api_key.digest).hex()
    return [issued.secret, rotated.secret, token.secret, pair.private_key, digest, SIGNING_SECRET]


def bill(organization: Organization, word: str) -> None:
    """An invoice with what belongs to one, and credit that staff gave."""
    project = organization.projects.in_order()[0]
    # The portal's own doing, once for a month: the next person finds it there.
    if not CreditNote.objects.filter(organization=organization).exists():
        invoice = make_invoice(project, now=NOW)
        make_standing(organization, now=NOW)
        keep_file(invoice, word)
        make_credit_note(invoice, f"outage {word}", now=NOW)
        confirmed = BankTransfer.Status.CONFIRMED
        names = {"statement_line": f"S-{word}", "payer": f"Works {word}", "reference": f"invoice {word}"}
        names |= {"disputed_by": "user_a", "disputed_because": f"wrong {word}"}
        make_transfer(organization, 7, (invoice, 5), status=confirmed, now=NOW, **names)
    make_goodwill(organization, f"goodwill {word}", now=NOW)
    if not GivenUpDebt.objects.filter(organization=organization).exists():
        make_given_up_debt(organization, f"debt {word}", now=NOW)


def keep_file(invoice: Invoice, word: str) -> None:
    """The file of an invoice, as it is kept."""
    content = f'{{"buyer": "{word}"}}\n'.encode()
    name = f"{invoice.organization.public_id}/{invoice.public_id}.jsonl.gz"
    InvoiceFile.objects.create(
        organization=invoice.organization,
        invoice=invoice,
        name=storages[STORAGE].save(name, ContentFile(gzip.compress(content))),
        digest=hashlib.sha256(content).hexdigest(),
        size=len(content),
        made_at=NOW,
    )


def pay(organization: Organization, user: User, word: str) -> None:
    """A payment, what of it went back, and a card that was removed."""
    paid = make_payment(
        organization,
        created_by=user,
        session_id=f"cs_{word}",
        intent_id=f"pi_{word}",
        customer_id=f"cus_{word}",
        now=NOW,
    )
    make_refund(paid, reason=f"bought twice {word}", now=NOW)
    # An organization has one at the most: the next person changes that of another.
    has_one = AutoReload.objects.filter(organization=organization).exists()
    make_auto_reload(make_organization() if has_one else organization, changed_by=user, now=NOW)
    make_card(organization, brand=f"brand {word}"[:24], removed_by=user, now=NOW)
    make_dispute(paid, state=Dispute.State.CLOSED, reason=f"reason {word}", now=NOW)


def make_fates(organization: Organization, word: str) -> None:
    """An event that came late, and one that somebody refused."""
    UsageFate.objects.create(
        event_id=uuid4(), organization=organization, occurred_at=NOW, outcome=UsageFate.Outcome.LATE, recorded_at=NOW
    )
    UsageFate.objects.create(
        event_id=uuid4(),
        organization=organization,
        occurred_at=NOW,
        outcome=UsageFate.Outcome.REJECTED,
        reason=UsageFate.Reason.TOO_OLD,
        content={"resource_id": f"model {word}"},
        recorded_at=NOW,
        decided_at=NOW,
        decision=f"refused {word}",
    )


def remember_actor_of(user: User, word: str) -> None:
    remember_actor(audit.person(user))
    remember_origin(Origin(f"req_12345678_{word}", f"2001:db8::{user.pk:x}", f"Browser/{word}"))
