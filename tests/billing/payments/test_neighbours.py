"""Organizations that pay beside each other. It holds without row-level security too (tests/test_tenant_mutants.py)."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Organization, Role
from accounts.services.audit import record_event
from billing.gateways.payment_provider import DisputeSeen
from billing.models import AutoReload, BillingAccount, Dispute, Payment, PaymentMethod, SpendCap
from billing.selectors.auto_reload import reload_view
from billing.selectors.cards import is_known_to_provider
from billing.selectors.disputes import frozen_nano_by_source
from billing.selectors.evidence import evidence_for
from billing.selectors.refunds import may_be_unspent
from billing.services.auto_reload import ReloadTerms, UnableToReload, set_auto_reload, start_reload
from billing.services.auto_reload_outcomes import has_given_up, note_reload
from billing.services.cards import (
    MOST_CARDS,
    UnableToKeepCard,
    open_card_page,
    open_portal,
    read_cards,
    remove_card,
    settle_cards,
    start_card_setup,
)
from billing.services.collecting import collect_due_invoices
from billing.services.disputes import settle_dispute
from billing.services.invoice_payments import UnableToCollect, collect_invoice
from billing.services.top_ups import WaysBack
from billing.services.usage import record_usage
from portal.lib.context import Actor, Origin, forget, remember_actor, remember_origin
from portal.lib.money import NANO_PER_USD
from tests.billing.payments.test_charges import open_invoice
from tests.billing.payments.test_top_ups import add
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import (
    NOW,
    make_auto_reload,
    make_bought_credit,
    make_card,
    make_dispute,
    make_invoice,
    make_payment,
    make_record,
)
from tests.factories.catalog import make_price

BACK = WaysBack("https://portal.example/paid", "https://portal.example/canceled")
# What make_auto_reload agrees on.
LIKE_THEIRS = ReloadTerms(is_on=True, threshold_cents=10_00, amount_cents=50_00, ceiling_cents=200_00)


@pytest.fixture
def neighbour(db) -> Organization:
    """Before the other organization, so that whatever takes the first row takes theirs."""
    return make_organization("Neighbour")


@pytest.fixture
def ours(neighbour) -> Organization:
    return make_organization("Ours")


def test_two_organizations_are_two_customers(double, browser, organization):
    add(browser, organization)
    other = make_membership(make_organization(name="Other"), role=Role.BILLING)
    browser.force_login(other.user)
    add(browser, other.organization)

    assert {customer.name for customer in double.v1.customers.list().data} == {"Acme", "Other"}
    mine = {session.customer for session in double.v1.checkout.sessions.list().data}
    assert mine == set(BillingAccount.objects.values_list("stripe_customer_id", flat=True))


# --- Cards ---------------------------------------------------------------------------------------


def test_a_card_that_a_neighbour_began_to_add_opens_no_page_here(ours, neighbour):
    BillingAccount.objects.create(organization=neighbour, created_at=NOW, setup_number=1)

    with pytest.raises(UnableToKeepCard, match="Begin on the page"):
        open_card_page(organization=ours, back=BACK)


def test_cards_of_a_neighbour_are_not_read_and_stay(double, ours, neighbour):
    customer = double.v1.customers.create({"name": "Neighbour"})
    double.v1.payment_methods.attach(double.card("4242424242424242").id, {"customer": customer.id})
    BillingAccount.objects.create(organization=neighbour, created_at=NOW, stripe_customer_id=customer.id)
    card = make_card(neighbour)

    assert read_cards(organization_id=ours.pk, now=NOW) == 0
    assert not PaymentMethod.objects.owned_by(ours).exists()
    settle_cards(organization_id=ours.pk, seen=[], now=NOW)

    assert PaymentMethod.objects.usable().get() == card


def test_the_provider_knows_a_neighbour_and_not_us(double, ours, neighbour):
    customer = double.v1.customers.create({"name": "Neighbour"})
    BillingAccount.objects.create(organization=neighbour, created_at=NOW, stripe_customer_id=customer.id)

    assert (is_known_to_provider(ours), is_known_to_provider(neighbour)) == (False, True)
    with pytest.raises(UnableToKeepCard, match="does not know this organization"):
        open_portal(organization=ours, back=BACK.paid)


def test_as_many_cards_as_may_be_leave_a_neighbour_room_for_one(double, ours, neighbour):
    for _ in range(MOST_CARDS):
        make_card(neighbour)
    with pytest.raises(UnableToKeepCard, match="ten cards"):
        start_card_setup(organization=neighbour, now=NOW)

    start_card_setup(organization=ours, now=NOW)

    assert BillingAccount.objects.get().organization_id == ours.pk


def test_the_default_of_a_neighbour_is_none_of_ours(ours, neighbour):
    theirs = make_card(neighbour, is_default=True)
    kept, default = make_card(ours), make_card(ours, is_default=True)

    remove_card(card=default, by=None, now=NOW)

    assert set(PaymentMethod.objects.filter(is_default=True)) == {theirs, kept}


# --- Charges -------------------------------------------------------------------------------------


def test_credit_is_bought_by_who_wants_it_with_its_own_card(ours, neighbour):
    make_auto_reload(neighbour)
    make_card(neighbour, is_default=True)
    card = make_card(ours)
    assert start_reload(organization_id=ours.pk, now=NOW) is None
    assert start_reload(organization_id=neighbour.pk, now=NOW) is not None
    make_auto_reload(ours)

    # Theirs is on its way.
    payment = start_reload(organization_id=ours.pk, now=NOW)

    assert payment is not None
    assert (payment.organization_id, payment.card) == (ours.pk, card)


def test_the_card_of_a_neighbour_turns_no_reload_on(ours, neighbour):
    make_card(neighbour)
    payer = make_membership(ours).user

    with pytest.raises(UnableToReload, match="Add a card first"):
        set_auto_reload(organization=ours, terms=LIKE_THEIRS, by=payer, now=NOW)


def test_a_reload_like_a_neighbours_is_one_of_our_own(ours, neighbour):
    make_auto_reload(neighbour)
    make_card(ours)

    reload = set_auto_reload(organization=ours, terms=LIKE_THEIRS, by=make_membership(ours).user, now=NOW)

    assert reload.organization_id == ours.pk


def test_what_a_neighbour_reloaded_is_not_counted_here(ours, neighbour):
    payment = make_payment(neighbour, state=Payment.State.SUCCEEDED)
    Payment.objects.filter(pk=payment.pk).update(purpose=Payment.Purpose.RELOAD)

    assert (reload_view(ours, NOW).bought, reload_view(neighbour, NOW).bought) == ("$0.00", "$25.00")


def test_a_neighbour_without_credit_keeps_no_money_of_ours(ours, neighbour):
    theirs = make_bought_credit(neighbour)
    # All of it is spent.
    SpendCap.objects.of_organization(neighbour.pk).update(limit_nano=0)

    assert (may_be_unspent(make_bought_credit(ours)), may_be_unspent(theirs)) == (True, False)


def test_failures_are_counted_where_they_happen(ours, neighbour):
    make_auto_reload(neighbour)
    make_auto_reload(ours)
    payment = make_payment(ours, state=Payment.State.FAILED)
    payment.purpose = Payment.Purpose.RELOAD

    note_reload(payment, NOW)

    counts = AutoReload.objects.order_by("organization_id").values_list("failure_count", flat=True)
    assert list(counts) == [0, 1]


def test_a_neighbour_that_was_given_up_is_not_us(ours, neighbour):
    make_auto_reload(neighbour, is_on=False)

    assert (has_given_up(ours.pk), has_given_up(neighbour.pk)) == (False, True)


def test_the_card_of_a_neighbour_pays_no_invoice(ours, neighbour):
    make_card(neighbour)

    with pytest.raises(UnableToCollect, match="No card"):
        collect_invoice(invoice=open_invoice(ours), now=timezone.now())


def test_the_card_of_a_neighbour_is_no_other_card_to_try(ours, neighbour):
    invoice = open_invoice(ours)
    payment = make_payment(ours, state=Payment.State.FAILED)
    refused = {"purpose": Payment.Purpose.INVOICE, "invoice": invoice, "card": make_card(ours), "failure": "lost_card"}
    Payment.objects.filter(pk=payment.pk).update(**refused)
    make_card(neighbour, is_default=True)

    assert collect_due_invoices(now=invoice.due_at) == 0


# --- Disputes ------------------------------------------------------------------------------------


def test_what_a_neighbours_bank_takes_back_disputes_nothing_here(ours, neighbour):
    make_dispute(make_bought_credit(neighbour, intent_id="pi_1"))
    make_bought_credit(ours, intent_id="pi_2")
    asked = DisputeSeen("dp_ours", "pi_2", "warning_needs_response", "fraudulent", 25_00, None)

    assert settle_dispute(seen=asked, now=NOW) == Dispute.State.INQUIRY

    ours.refresh_from_db()
    assert ours.payment_state == "good"


def test_what_a_neighbours_bank_freezes_is_not_frozen_here(ours, neighbour):
    dispute = make_dispute(make_bought_credit(neighbour))
    Dispute.objects.filter(pk=dispute.pk).update(frozen_cents=25_00)

    assert frozen_nano_by_source(ours.pk) == {}
    assert list(frozen_nano_by_source(neighbour.pk).values()) == [25 * NANO_PER_USD]


def act(organization: Organization, actor_id: str, address: str) -> None:
    """Leave an entry in its log as a person who comes from an address."""
    remember_actor(Actor("user", actor_id, "session"))
    remember_origin(Origin("req_12345678", address, "Browser"))
    target = ("organization", organization.public_id)
    record_event("organization.renamed", organization_id=organization.pk, target=target, now=NOW)
    forget()


def test_evidence_is_of_one_organization(ours, neighbour):
    make_price("model.demo.input", NANO_PER_USD, 1_000_000)
    former = make_membership(neighbour).user
    numbers = {}
    for organization, units in ((ours, 1_234_567), (neighbour, 2_345_678)):
        numbers[organization] = str(make_invoice(organization.projects.get()).number)
        record = make_record(organization.projects.get(), units, occurred_at=NOW - timedelta(hours=1))
        record_usage([record], reservation_id=None, now=NOW)
    act(ours, former.public_id, "192.0.2.1")
    act(neighbour, former.public_id, "192.0.2.2")

    found = evidence_for(make_dispute(make_bought_credit(ours, intent_id="pi_1")), now=NOW)

    assert numbers[ours] in found.text
    assert numbers[neighbour] not in found.text
    assert "1234567 units" in found.text
    assert "2345678 units" not in found.text
    assert f"{former.public_id} (user) organization.renamed from 192.0.2.1" in found.access_log
    # Theirs has an address that is not looked up here.
    assert found.access_log.count("organization.renamed") == 1
