"""Staff reads disputes with what speaks for the payment, and finance lets it be sent."""

import pytest
from django.utils.html import escape

from accounts.services.staff import StaffGroup
from billing.models import Dispute
from billing.selectors.evidence import LONGEST, evidence_for
from billing.services.usage import record_usage
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import NOW, make_bought_credit, make_dispute, make_invoice, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/dispute/"
READERS = {StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture
def dispute():
    organization = make_organization(name="Acme AI")
    make_membership(organization)
    return make_dispute(make_bought_credit(organization, intent_id="pi_1"), state=Dispute.State.OPEN)


def page_of(dispute: Dispute) -> str:
    return f"{LIST}{dispute.public_id}/"


def test_the_evidence_says_what_was_used_and_is_a_file(dispute):
    project = dispute.organization.projects.get()
    invoice = make_invoice(project)
    make_price("model.demo.input", 1_000_000_000, 1_000_000)
    record_usage([make_record(project, 2_000_000)], reservation_id=None, now=NOW)
    finance = browser_of(make_staff(StaffGroup.FINANCE))

    page = finance.get(page_of(dispute)).content.decode()
    file = finance.get(f"{page_of(dispute)}evidence.txt")

    assert file["Content-Disposition"] == f'attachment; filename="{dispute.public_id}.txt"'
    text = file.content.decode()
    for words in (
        "2026-11-22 model.demo.input: 2000000 units, $2",
        str(invoice.number),
        "Acme AI",
        "fraudulent",
        "$25.00",
    ):
        assert words in text
    assert "Send the evidence" in page
    assert escape(str(invoice.number)) in page


def test_the_evidence_fits_into_what_the_provider_takes(dispute):
    project = dispute.organization.projects.get()
    for number in range(180):
        sku = f"model.{'x' * 100}{number}.input"
        make_price(sku, 1_000_000, 1_000_000)
        record_usage([make_record(project, 1_000, sku=sku)], reservation_id=None, now=NOW)

    found = evidence_for(dispute, now=NOW)

    assert LONGEST - 100 < len(found.text) <= LONGEST
    assert found.text.endswith("(there is more)")
    assert len(found.access_log) <= LONGEST


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_and_answers_as_it_may(dispute, group):
    client = browser_of(make_staff(group))
    pages = [LIST, page_of(dispute), f"{page_of(dispute)}evidence.txt"]

    assert {client.get(page).status_code for page in pages} == {200 if group in READERS else 403}
    assert (f'href="{escape(LIST)}"' in client.get("/admin/").content.decode()) == (group in READERS)
    assert client.post(page_of(dispute)).status_code == (302 if group == StaffGroup.FINANCE else 403)
    dispute.refresh_from_db()
    assert (dispute.answered_at is not None) == (group == StaffGroup.FINANCE)


def test_it_is_answered_once_by_who_signed_in_lately(dispute):
    staff = make_staff(StaffGroup.FINANCE)
    assert browser_of(staff, is_recent=False).post(page_of(dispute)).status_code == 302
    dispute.refresh_from_db()
    assert dispute.answered_at is None
    client = browser_of(staff)
    assert [client.post(page_of(dispute)).status_code for _ in range(2)] == [302, 409]
    assert "Send the evidence" not in client.get(page_of(dispute)).content.decode()
    assert client.get(f"{LIST}dispute_none/").status_code == client.get(f"{LIST}a%00b/").status_code == 404
    assert dispute.public_id in client.get(LIST, {"organization": dispute.organization.slug}).content.decode()
    assert dispute.public_id not in client.get(LIST, {"organization": make_organization().slug}).content.decode()
