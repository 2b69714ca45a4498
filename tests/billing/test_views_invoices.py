"""Invoices as their customers see them: pages, files, mails and the API."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import Project, Role, Scope
from billing.models import Invoice
from billing.services.invoice_mails import mail_invoices
from billing.services.invoices import draft_invoice
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from portal.lib.tenancy import as_platform
from tests.billing.test_services_credit_notes import issue
from tests.billing.test_services_invoices import DOLLAR, DUE, OCTOBER, ON_TERMS, allow, close, use
from tests.factories.accounts import make_key, make_membership, make_organization, make_project, make_user
from tests.factories.catalog import make_price
from tests.visits import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    make_price("model.demo.input", NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization("Acme"), "Search")


@pytest.fixture
def client(project: Project) -> Client:
    return signed_in(make_membership(project.organization, role=Role.BILLING).user)


@pytest.fixture
def invoice(project: Project) -> Invoice:
    allow(project, 100)
    use(project, DOLLAR * 15 + 7)
    return close(project, terms=ON_TERMS)


def page(client: Client, name: str, *args: str) -> str:
    answer = client.get(reverse(f"billing:{name}", args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_and_the_page_say_what_is_due_and_what_for(project, client, invoice):
    slug = project.organization.slug

    whole = page(client, "invoice-list", slug)
    assert f">{invoice.number}</a>" in whole
    assert "$11.90" in whole

    whole = page(client, "invoice-detail", slug, invoice.public_id)
    for words in (
        "$15.00",
        "$11.90",
        "Search",
        "15.000007",
        "credit 5.00, owed 10.00",
        "PO-7",
        "Headroom GmbH",
        "19 %",
    ):
        assert words in whole, words


def test_a_draft_is_being_prepared_and_has_no_files(project, client):
    use(project, DOLLAR)
    draft = draft_invoice(organization=project.organization, period=month_of(OCTOBER), now=DUE)
    assert draft is not None
    slug = project.organization.slug

    assert "Draft of 2026-10" in page(client, "invoice-list", slug)
    assert "This invoice is being prepared" in page(client, "invoice-detail", slug, draft.public_id)
    for name in ("invoice-pdf", "invoice-export"):
        assert client.get(reverse(f"billing:{name}", args=[slug, draft.public_id])).status_code == 404


def test_the_file_is_one_whole_export(project, client, invoice):
    answer = client.get(reverse("billing:invoice-export", args=[project.organization.slug, invoice.public_id]))

    records = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [record["record"] for record in records] == ["invoice", "price", "line", "bucket", "event", "end"]
    assert f'filename="{invoice.number}.jsonl"' in answer["Content-Disposition"]


def test_a_credit_note_is_on_the_page(project, client, invoice):
    note = issue(invoice, 1)

    assert str(note.number) in page(client, "invoice-detail", project.organization.slug, invoice.public_id)


def test_there_is_a_pdf_or_the_package_that_is_missing_is_named(project, client, invoice):
    answer = client.get(reverse("billing:invoice-pdf", args=[project.organization.slug, invoice.public_id]))

    if answer.status_code == 200:
        assert answer["Content-Type"] == "application/pdf"
        assert answer.content.startswith(b"%PDF-")
    else:
        assert answer.status_code == 501
        assert "libpango" in answer.content.decode()


def test_without_pango_the_page_names_it(project, client, invoice, monkeypatch):
    # As where it, or what it loads, is not installed.
    monkeypatch.setitem(sys.modules, "weasyprint", None)

    answer = client.get(reverse("billing:invoice-pdf", args=[project.organization.slug, invoice.public_id]))

    assert answer.status_code == 501
    assert "libpango" in answer.content.decode()


def test_those_who_manage_billing_are_mailed_once(project, client, invoice):
    make_membership(project.organization, make_user("reader@example.com"), role=Role.VIEWER)

    with as_platform():
        assert mail_invoices(now=DUE) == 1
        assert mail_invoices(now=DUE) == 0

    assert "reader@example.com" not in [address for one in mail.outbox for address in one.to]
    [first, *_others] = mail.outbox
    assert first.subject == f"Invoice {invoice.number} for 2026-10"
    assert "Total $15.00, due $11.90." in first.body
    assert f"Please pay by {DUE + timedelta(days=30):%Y-%m-%d}" in first.body
    assert invoice.public_id in first.body


def test_programs_list_invoices(project, invoice):
    issued = make_key(project, scopes=(Scope.BILLING_READ,))

    answer = Client().get("/api/v1/invoices", headers={"Authorization": f"Bearer {issued.secret}"})

    [one] = answer.json()["data"]
    assert (one["number"], one["status"], one["total"], one["credit"], one["tax"], one["due"]) == (
        invoice.number,
        "open",
        "15.00",
        "5.00",
        "1.90",
        "11.90",
    )


def test_what_a_customer_downloads_computes_the_invoice_again(project, client, invoice, tmp_path):
    slug = project.organization.slug
    shown = page(client, "invoice-detail", slug, invoice.public_id)
    command = f"python verify_invoice.py {invoice.number}.jsonl --prices rate-card.json"
    assert command in shown
    saved = {
        "verify_invoice.py": reverse("billing:verify-invoice"),
        "rate-card.json": reverse("catalog:rate-card"),
        f"{invoice.number}.jsonl": reverse("billing:invoice-export", args=[slug, invoice.public_id]),
    }
    for name, address in saved.items():
        assert address in shown
        answer = client.get(address)
        (tmp_path / name).write_bytes(b"".join(answer.streaming_content) if answer.streaming else answer.content)

    # Without site packages: it needs Python and nothing else.
    words = [sys.executable, "-I", "-S", *command.split()[1:]]
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert f"{invoice.number} comes out" in run.stdout

    export = tmp_path / f"{invoice.number}.jsonl"
    export.write_text(export.read_text().replace("15000007", "15000008"))
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout.startswith("DIFFERS: Line 1")
