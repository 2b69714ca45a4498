"""The file of an invoice is kept when the events that it was made of are gone, and they stay until it is."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.storage import storages
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from accounts.models import Project, Role
from billing.models import Invoice, InvoiceFile, UsageEvent
from billing.selectors.invoice_export import export_records
from billing.selectors.invoice_files import STORAGE
from billing.services.invoice_files import keep_invoice_files
from billing.services.invoices import void_invoice
from billing.verify_invoice import main
from portal.lib.exports import json_lines
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.billing.test_services_invoices import DOLLAR, DUE, ON_TERMS, SKU, allow, close, use
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.catalog import make_price
from tests.visits import signed_in

pytestmark = pytest.mark.django_db

# So long ago that its events are forgotten whatever day it is.
LONG_AGO = datetime(2024, 2, 20, 9, 15, tzinfo=UTC)
CLOSED = datetime(2024, 3, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        STORAGE: {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "files")},
        }
    }
    return tmp_path / "files"


@pytest.fixture
def project() -> Project:
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2024, 1, 1, tzinfo=UTC))
    return make_project(make_organization("Acme"))


@pytest.fixture
def invoice(project: Project) -> Invoice:
    allow(project, 100)
    for hour in range(3):
        use(project, DOLLAR * 5 + hour, LONG_AGO + timedelta(hours=hour))
    # As it is read later: the database orders what is frozen in its own way.
    return Invoice.objects.get(pk=close(project, CLOSED, ON_TERMS).pk)


@pytest.fixture
def client(project):
    return signed_in(make_membership(project.organization, role=Role.BILLING).user)


def made_now(invoice: Invoice) -> bytes:
    return b"".join(json_lines(export_records(invoice.organization, invoice)))


def keep(now: datetime = DUE) -> int:
    with as_platform():
        return keep_invoice_files(now=now)


def forget() -> int:
    with as_platform(), connection.cursor() as cursor:
        gone = 0
        while True:
            cursor.execute("SELECT billing_forget_usage(1000)")
            if not (count := cursor.fetchone()[0]):
                return gone
            gone += count


def download(client, invoice: Invoice):
    answer = client.get(reverse("billing:invoice-export", args=[invoice.organization.slug, invoice.public_id]))
    assert answer.status_code == 200
    return b"".join(answer.streaming_content), answer


def test_what_is_downloaded_later_is_what_was_made(invoice, client, tmp_path, capsys):
    whole = made_now(invoice)
    assert "Repr-Digest" not in download(client, invoice)[1]

    assert keep() == 1
    assert forget() > 0
    assert not UsageEvent.objects.exists()
    content, answer = download(client, invoice)

    assert content == whole
    digest = base64.b64encode(hashlib.sha256(whole).digest()).decode()
    assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    row = InvoiceFile.objects.get()
    assert (row.digest, row.size) == (hashlib.sha256(whole).hexdigest(), len(whole))
    (tmp_path / "invoice.jsonl").write_bytes(content)
    assert main([str(tmp_path / "invoice.jsonl")]) == 0, capsys.readouterr()


def test_events_stay_until_the_file_is_kept(invoice):
    assert forget() == 0
    assert UsageEvent.objects.count() == 3

    keep()

    assert forget() > 0
    assert not UsageEvent.objects.exists()


def test_events_of_a_draft_or_of_no_invoice_keep_nothing_back(project):
    use(project, DOLLAR, LONG_AGO)

    assert forget() > 0
    assert not UsageEvent.objects.exists()


def test_a_file_is_made_once_and_for_void_invoices_too(invoice):
    void_invoice(invoice=invoice, now=CLOSED + timedelta(days=1))

    assert [keep(), keep()] == [1, 0]
    assert InvoiceFile.objects.get().invoice == invoice


def test_one_that_cannot_be_kept_holds_no_other_up(invoice, folder, caplog):
    other = make_project(make_organization("Umbrella"))
    allow(other, 100)
    use(other, DOLLAR, LONG_AGO)
    close(other, CLOSED + timedelta(hours=1), ON_TERMS)
    folder.mkdir()
    # Where the folder of the first would be.
    (folder / invoice.organization.public_id).write_text("in the way")

    assert keep() == 1
    assert InvoiceFile.objects.get().organization_id == other.organization_id
    (folder / invoice.organization.public_id).unlink()
    assert keep() == 1


def test_those_that_fail_for_ever_give_way_to_the_others(invoice, folder, monkeypatch):
    monkeypatch.setattr("billing.services.invoice_files.BATCH", 1)
    other = make_project(make_organization("Umbrella"))
    allow(other, 100)
    use(other, DOLLAR, LONG_AGO)
    close(other, CLOSED + timedelta(hours=1), ON_TERMS)
    folder.mkdir()
    (folder / invoice.organization.public_id).write_text("in the way")

    assert keep() == 0
    assert keep(DUE + timedelta(hours=1)) == 1
    assert InvoiceFile.objects.get().organization_id == other.organization_id
    (folder / invoice.organization.public_id).unlink()
    assert keep(DUE + timedelta(hours=2)) == 1


def test_an_attempt_that_was_cut_off_leaves_the_next_alone(invoice, client):
    storage = storages[STORAGE]
    keep()
    name = InvoiceFile.objects.get().name
    assert name.startswith(f"{invoice.organization.public_id}/{invoice.public_id}-")
    assert storage.size(name) > 0
    assert json.loads(download(client, invoice)[0].splitlines()[0])["number"] == invoice.number


def test_what_the_storage_lost_is_no_wrong_file(invoice, client):
    keep()
    storages[STORAGE].delete(InvoiceFile.objects.get().name)

    answer = client.get(reverse("billing:invoice-export", args=[invoice.organization.slug, invoice.public_id]))
    assert answer.status_code == 500


@pytest.mark.parametrize("statement", ["UPDATE billing_invoicefile SET size = 1", "DELETE FROM billing_invoicefile"])
def test_nobody_of_the_portal_changes_the_row(invoice, statement):
    keep()

    for role in ("headroom_app", "headroom_platform", "headroom_gateway"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL ROLE {role}")
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                cursor.execute(statement)
