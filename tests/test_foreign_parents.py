"""The database refuses a row whose parent is another organization's, written by whom no policy holds (security T6).

Generated from the models: a row that an organization has is written once more by the owner of the tables, the same
but for one parent. Row-level security does not look at foreign keys, so it is the key that has to refuse.
"""

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError

from accounts.models import Organization, User
from billing.models import (
    BankTransfer,
    Contract,
    CreditGrant,
    Invoice,
    InvoiceFile,
    InvoiceLine,
    Payment,
    Standing,
    StandingLetter,
)
from billing.services.contracts import AgreedPrice
from catalog.models import Sku
from compute.models import HealthInterval, Instance
from inference.models import IdempotencyClaim
from portal.lib.tenancy import set_organization
from tests.factories.billing import make_contract, make_credit_note, make_given_up_debt, make_goodwill, make_payment
from tests.factories.terms import make_transfer
from tests.furnishing import LONG_NAME, furnish
from tests.support import undone
from tests.test_row_level_security import UNCHECKED, ask, ask_nothing, tenant_foreign_keys
from tests.world import NOW, World


@pytest.fixture
def furnished(world: World) -> World:
    """Both organizations with everything in them, so that there is a parent of theirs for each row of ours."""
    for organization in (world.ours, world.theirs):
        # Both have a member whose long address is the same.
        User.objects.filter(email__startswith=LONG_NAME).update(email="another@example.com")
        furnish(organization, NOW)
        add_what_is_seldom_there(organization)
    ask_nothing("SET CONSTRAINTS ALL IMMEDIATE")
    ask_nothing("SET CONSTRAINTS ALL DEFERRED")
    return world


def add_what_is_seldom_there(organization: Organization) -> None:
    """What exists only while a request runs, a machine is probed, terms are drafted or a line is taken back."""
    sku = Sku.objects.filter(prices__isnull=False).order_by("pk")[0].code
    contract = make_contract(organization, AgreedPrice(sku, 1), status=Contract.Status.DRAFT, now=NOW)
    invoice = Invoice.objects.owned_by(organization).issued()[0]
    make_credit_note(invoice, now=NOW)
    paid = make_transfer(organization, 7, (invoice, 5), now=NOW)
    BankTransfer.objects.filter(pk=paid.pk).update(credit_grant=CreditGrant.objects.owned_by(organization)[0])
    StandingLetter.objects.create(
        organization=organization,
        standing=Standing.objects.create(organization=organization, state="grace", since=NOW, began_at=NOW),
        letter="grace",
        owed_cents=1,
        noted_at=NOW,
    )
    make_goodwill(organization, now=NOW)
    make_given_up_debt(organization, now=NOW)
    payment = make_payment(organization, now=NOW)
    Payment.objects.filter(pk=payment.pk).update(purpose=Payment.Purpose.INVOICE, invoice=invoice)
    draft = Invoice.objects.create(
        organization=organization,
        period_start=invoice.period_end,
        period_end=invoice.period_end + timedelta(hours=1),
        drafted_at=NOW,
    )
    InvoiceLine.objects.create(
        organization=organization,
        invoice=draft,
        position=1,
        is_adjustment=False,
        month=draft.period_start,
        contract=contract,
        product="commitment",
        price_nano=0,
        unit_size=1,
        quantity=0,
        amount_nano=0,
        amount_cents=0,
        parts=[],
    )
    InvoiceFile.objects.create(
        organization=organization, invoice=invoice, name=invoice.public_id, digest="0" * 64, size=1, made_at=NOW
    )
    HealthInterval.objects.create(
        organization=organization,
        instance=Instance.objects.filter(organization=organization)[0],
        started_at=NOW - timedelta(minutes=1),
        confirmed_to=NOW,
        metered_to=NOW,
    )
    IdempotencyClaim.objects.create(
        organization=organization,
        project=organization.projects.in_order()[0],
        idempotency_digest=b"key",
        body_digest=b"body",
        request_id="req_running",
        expires_at=NOW,
    )


def take_out(table: str, column: str, organization_id: int, foreign: int | None) -> str:
    """Remove a row of the organization, past triggers and keys, and return it: if possible one with such a parent.

    The other organization's rows go too, so that none of them is what the row would be like under their parent: all
    but the parent itself, which must be there to be refused. foreign: its key, if it is of this table.
    """
    ask_nothing("SET LOCAL session_replication_role = replica")
    [(row,)] = ask(
        f"DELETE FROM {table} WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM {table} WHERE organization_id = %s"
        f" ORDER BY {column} IS NULL LIMIT 1) RETURNING to_jsonb({table})::text",
        organization_id,
    )
    but_parent = "" if foreign is None else f" AND id <> {foreign:d}"
    ask_nothing(f"DELETE FROM {table} WHERE organization_id <> %s{but_parent}", organization_id)
    ask_nothing("SET LOCAL session_replication_role = origin")
    return str(row)


def put_back(table: str, row: str, changes: dict[str, int], organization_id: int) -> None:
    """Write the row as the owner of the table, with these columns changed, and have every key checked.

    Without the table's own triggers: some refuse any row, such as a line of an invoice that is issued.
    """
    ask_nothing("SET LOCAL ROLE headroom_owner")
    ask_nothing(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    set_organization(organization_id)
    ask_nothing(
        f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, %s::jsonb || %s::jsonb)).*",
        row,
        json.dumps(changes),
    )
    ask_nothing("SET CONSTRAINTS ALL IMMEDIATE")


def key_that_refuses(
    table: str, column: str, changes: dict[str, int], organization_id: int, *, foreign: int | None = None
) -> str | None:
    """Return the name of the constraint that refuses a row of the organization with these changes, or None."""
    try:
        with undone():
            put_back(table, take_out(table, column, organization_id, foreign), changes, organization_id)
    except IntegrityError as error:
        return str(error.__cause__.diag.constraint_name)  # type: ignore[union-attr]  # psycopg's own error
    return None


def columns_of_key(table: str, name: str | None) -> list[str]:
    rows = ask(
        "SELECT a.attname FROM pg_constraint c, unnest(c.conkey) WITH ORDINALITY k(number, place), pg_attribute a"
        " WHERE c.conrelid = %s::regclass AND c.conname = %s AND c.contype = 'f' AND a.attrelid = c.conrelid"
        " AND a.attnum = k.number ORDER BY k.place",
        table,
        name or "",
    )
    return [column for (column,) in rows]


@pytest.mark.asvs("8.4.1")
def test_a_row_with_a_parent_of_another_organization_is_refused_by_the_key_that_carries_it(furnished: World):
    ours, theirs = furnished.ours.pk, furnished.theirs.pk
    refused = {}
    for child, column, parent in tenant_foreign_keys():
        [(foreign,)] = ask(f"SELECT id FROM {parent} WHERE organization_id = %s LIMIT 1", theirs)
        own = foreign if child == parent else None
        refused[child, column] = key_that_refuses(child, column, {column: foreign}, ours, foreign=own)
        # It is the parent that is refused: the same row as it was is taken.
        assert key_that_refuses(child, column, {}, ours) is None

    tried = {key for key, name in refused.items() if name is not None}
    assert tried == {(child, column) for child, column, _ in tenant_foreign_keys()} - UNCHECKED
    for child, column in tried:
        name = refused[child, column]
        assert str(name).endswith("_same_organization"), f"{child}.{column} was refused by {name}"
        assert columns_of_key(child, name) == ["organization_id", column]
