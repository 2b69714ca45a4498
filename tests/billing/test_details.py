"""Who an organization is on its invoices: what it says itself, what staff confirm, and what tax makes of it."""

import json
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client, override_settings
from django.urls import reverse

from accounts.models import AuditEvent, Organization, OrganizationTerms, Role
from accounts.services.staff import StaffGroup
from billing.invoicing.tax_ids import BadTaxIdError, normal_tax_id
from billing.models import BillingDetails, Invoice
from billing.selectors.details import buyer_of
from billing.services.details import UnableToChangeDetails, confirm_tax_details
from billing.services.invoice_mails import mail_invoices
from billing.services.month_closing import close_months_of
from billing.services.terms import UnableToChangeTerms, approve_terms
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import hour_of
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import NOW, make_record
from tests.factories.catalog import make_price
from tests.factories.terms import make_details, make_terms, put_terms_in_force

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/billingdetails/"
READERS = {StaffGroup.SALES, StaffGroup.FINANCE, StaffGroup.COMPLIANCE, StaffGroup.AUDITOR}
ISSUED = NOW.replace(month=12, day=2)
GOOD = {
    "legal_name": "Acme AI SAS",
    "billing_address": " 1 rue de la Paix \n\n 75002 Paris ",
    "country": "FR",
    "tax_id": "fr 40 303 265 045",
    "purchase_order": "PO-7",
    "invoice_emails": "ap@acme.example\nap@acme.example",
}


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme AI")


def page(organization: Organization) -> str:
    return reverse("billing:details", args=[organization.slug])


def owner_of(organization: Organization, role: Role = Role.OWNER) -> Client:
    return browser_of(make_membership(organization, role=role).user)


@pytest.mark.parametrize(
    ("country", "given", "kept"),
    [
        ("DE", "136 695 976", "DE136695976"),
        ("FR", "fr40303265045", "FR40303265045"),
        ("GR", "094259216", "EL094259216"),
        ("GB", "GB 980 7806 84", "980780684"),
        ("US", "12-3456789", "123456789"),
    ],
)
def test_a_tax_id_is_kept_in_one_form(country, given, kept):
    assert normal_tax_id(country, given) == kept
    assert normal_tax_id(country, kept) == kept


@pytest.mark.parametrize(
    ("country", "given"),
    [
        ("DE", "136695977"),
        ("DE", "FR40303265045"),
        ("FR", "DE136695976"),
        ("US", "1"),
        ("US", "12_3456"),
        ("GB", "1"),
    ],
)
def test_what_cannot_be_a_tax_id_of_the_country_is_refused(country, given):
    with pytest.raises(BadTaxIdError):
        normal_tax_id(country, given)


def test_who_may_manage_billing_says_who_the_organization_is(organization):
    client = owner_of(organization, Role.BILLING)

    answer = client.post(page(organization), GOOD)

    assert (answer.status_code, answer["Location"]) == (302, page(organization))
    details = BillingDetails.objects.get()
    assert (details.address, details.tax_id) == ("1 rue de la Paix\n75002 Paris", "FR40303265045")
    assert details.invoice_emails == ["ap@acme.example"]
    shown = client.get(page(organization)).content.decode()
    assert "Not confirmed yet" in shown
    assert "75002 Paris" in shown
    event = AuditEvent.objects.get(action="billing_details.changed")
    assert json.loads(event.changes) == {
        "details": [None, ["address", "country", "invoice_emails", "legal_name", "purchase_order", "tax_id"]]
    }
    client.post(page(organization), GOOD)
    assert AuditEvent.objects.filter(action="billing_details.changed").count() == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"legal_name": ""}, "required"),
        ({"billing_address": ""}, "required"),
        ({"country": "XX"}, "Select a valid choice"),
        ({"country": ""}, "required"),
        ({"tax_id": "FR40303265046"}, "cannot be a tax id of France"),
        ({"invoice_emails": "nobody"}, "valid email address"),
        ({"invoice_emails": " ".join(f"{n}@acme.example" for n in range(11))}, "Ten addresses"),
    ],
)
def test_bad_details_get_a_sentence_and_change_nothing(organization, changes, words):
    answer = owner_of(organization).post(page(organization), GOOD | changes)

    assert (answer.status_code, BillingDetails.objects.count()) == (422, 0)
    assert words in answer.content.decode()


def test_another_id_or_country_is_confirmed_anew(organization):
    details = make_details(organization, tax_id="FR40303265045", country="FR")
    finance = make_staff(StaffGroup.FINANCE)
    with as_platform():
        confirm_tax_details(
            details=details, tax_id="FR40303265045", is_confirmed=True, exemption="U-1", by=finance, now=NOW
        )
    client = owner_of(organization)

    client.post(page(organization), GOOD)
    assert buyer_of(organization).tax_id == "FR40303265045"
    client.post(page(organization), GOOD | {"tax_id": "FR83404833048"})

    assert (buyer_of(organization).tax_id, buyer_of(organization).exemption) == ("", "")


@override_settings(SELLER_COUNTRY="DE")
@pytest.mark.parametrize(
    ("tax_id", "exemption", "treatment", "tax_cents"),
    [
        ("unconfirmed", "", "standard", 200),
        ("confirmed", "", "reverse_charge", 0),
        ("unconfirmed", "U-1", "exempt", 0),
    ],
)
def test_tax_goes_by_what_was_confirmed_and_the_invoice_keeps_it(organization, tax_id, exemption, treatment, tax_cents):
    make_price("model.demo.input", NANO_PER_USD, 1_000_000, active_from=hour_of(NOW) - timedelta(days=90))
    project = make_project(organization)
    details = make_details(organization, tax_id="FR40303265045", country="FR", purchase_order="PO-7")
    if tax_id == "confirmed" or exemption:
        with as_platform():
            confirm_tax_details(
                details=details,
                tax_id="FR40303265045",
                is_confirmed=tax_id == "confirmed",
                exemption=exemption,
                by=make_staff(StaffGroup.FINANCE),
                now=NOW,
            )
    put_terms_in_force(organization, 100 * NANO_PER_USD)
    record_usage([make_record(project, 15_000_000)], reservation_id=None, now=NOW)
    [invoice] = close_months_of(organization=organization, now=ISSUED)
    BillingDetails.objects.update(legal_name="Another Ltd", purchase_order="PO-8")

    invoice = Invoice.objects.get()
    assert (invoice.tax_treatment, invoice.tax_cents, invoice.owed_cents) == (treatment, tax_cents, 1_000)
    assert (invoice.terms["buyer"]["name"], invoice.terms["purchase_order"]) == ("Works Ltd", "PO-7")
    with as_platform():
        assert mail_invoices(now=ISSUED) == 1
    assert "bills@example.com" in {one.to[0] for one in mail.outbox}


def test_terms_that_need_a_purchase_order_wait_for_one_and_keep_it(organization):
    waiting = make_terms(organization, status=OrganizationTerms.Status.PROPOSED, needs_purchase_order=True)
    finance = make_staff(StaffGroup.FINANCE)
    with pytest.raises(UnableToChangeTerms, match="no purchase-order number"):
        approve_terms(terms=waiting, by=finance, now=NOW)
    client = owner_of(organization)
    client.post(page(organization), GOOD)
    approve_terms(terms=waiting, by=finance, now=NOW)

    answer = client.post(page(organization), GOOD | {"purchase_order": ""})

    assert answer.status_code == 422
    assert "need a purchase-order number" in answer.content.decode()
    assert BillingDetails.objects.get().purchase_order == "PO-7"


def test_staff_confirm_what_the_tax_office_said(organization):
    make_details(organization)
    finance = browser_of(make_staff(StaffGroup.FINANCE))
    form = {"organization": organization.slug, "tax_id": "DE136695976", "is_confirmed": "on", "exemption": ""}

    assert "DE136695976" in finance.get(LIST).content.decode()
    refused = [
        finance.post(LIST, form | changes).status_code
        for changes in ({"organization": "nobody"}, {"tax_id": "DE1"}, {"organization": ""})
    ]
    assert refused == [422, 422, 422]
    assert finance.post(LIST, form).status_code == 302

    assert buyer_of(organization).tax_id == "DE136695976"
    assert "DE136695976" not in finance.get(LIST).content.decode()
    assert "DE136695976" in finance.get(f"{LIST}?organization={organization.slug}").content.decode()
    event = AuditEvent.objects.get(action="billing_details.tax_confirmed")
    assert json.loads(event.changes) == {"tax_id_confirmed": [False, True], "exempt": [False, False]}


def test_there_must_be_an_id_to_confirm(organization):
    details = make_details(organization, tax_id="")

    with pytest.raises(UnableToChangeDetails, match="no tax id"):
        confirm_tax_details(
            details=details,
            tax_id="",
            is_confirmed=True,
            exemption="",
            by=make_staff(StaffGroup.FINANCE),
            now=NOW,
        )


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_and_confirms_as_it_may(organization, group):
    make_details(organization)
    client = browser_of(make_staff(group))

    assert client.get(LIST).status_code == (200 if group in READERS else 403)
    form = {"organization": organization.slug, "tax_id": "DE136695976", "is_confirmed": "on"}
    assert client.post(LIST, form).status_code == (302 if group == StaffGroup.FINANCE else 403)
