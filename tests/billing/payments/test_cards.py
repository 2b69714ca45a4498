"""Cards are kept by the provider; what we know of them is what it says, and nothing that could pay."""

import re
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings
from django.utils import timezone

from accounts.models import AuditEvent, Role
from billing.gateways.payment_provider import CardSeen
from billing.models import BillingAccount, PaymentMethod, StripeEvent
from billing.services.cards import MOST_CARDS, let_cards_go, read_cards, settle_cards, start_card_setup
from billing.services.stripe_events import fetch_messages, work_events
from tests.billing.payments.test_refunds import just_signed_in
from tests.doubles.provider import message, tell
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import make_card

THREE_D_SECURE, DECLINED = "4000002500003155", "4000000000000002"


def hear():
    fetch_messages(now=timezone.now())
    work_events(now=timezone.now())


def set_up(double, browser, organization, card="4242424242424242"):
    """Add a card as a person does; return the page that led to the provider."""
    begun = browser.post(f"/o/{organization.slug}/credit/cards/add/")
    assert begun.status_code == 302
    page = browser.get(begun.url)
    session = double.v1.checkout.sessions.list().data[0]
    double.control("checkout", session=session.id, card=card)
    return page


def keep_card(double, browser, organization, card="4242424242424242"):
    set_up(double, browser, organization, card)
    hear()
    return PaymentMethod.objects.owned_by(organization).latest("pk")


def page_of(browser, organization):
    return browser.get(f"/o/{organization.slug}/credit/cards/").content.decode()


def test_a_card_is_added_on_the_providers_page_and_is_the_default(double, browser, organization, payer):
    page = set_up(double, browser, organization).content.decode()
    assert re.search(rf'href="{double.url}/c/[^"]+"', page), "the page does not lead to the provider"
    hear()

    card = PaymentMethod.objects.get()
    assert (card.brand, card.last_four, card.is_default, card.organization) == ("visa", "4242", True, organization)
    shown = page_of(browser, organization)
    assert "Visa •••• 4242" in shown
    assert "Used for payments without you" in shown
    log = AuditEvent.objects.owned_by(organization).filter(action__startswith="card.").order_by("sequence")
    assert list(log.values_list("action", "actor_id")) == [("card.setup_started", payer.public_id), ("card.added", "")]
    assert set(StripeEvent.objects.values_list("state", flat=True)) <= {"done", "ignored"}
    # Nothing else of it is kept.
    assert {field.name for field in PaymentMethod._meta.fields} == {
        *("id", "organization", "public_id", "stripe_payment_method_id", "brand", "last_four", "expires_month"),
        *("expires_year", "is_default", "is_attached", "created_at", "removed_at", "removed_by"),
    }


def test_asked_again_the_same_page_opens_and_when_it_is_over_ours(double, browser, organization):
    begun = browser.post(f"/o/{organization.slug}/credit/cards/add/")
    first, second = (re.search(r"/c/cs_\w+", browser.get(begun.url).content.decode()) for _ in range(2))
    assert first
    assert second
    assert first[0] == second[0]
    assert len(double.v1.checkout.sessions.list().data) == 1
    double.control("checkout", session=first[0].removeprefix("/c/"))

    assert browser.get(begun.url).status_code == 302


def test_who_comes_back_is_told_by_a_job_and_others_pages_stay_theirs(double, browser, organization):
    card = keep_card(double, browser, organization)
    stranger = make_membership(make_organization(name="Other"), role=Role.OWNER)
    just_signed_in(browser).force_login(stranger.user)
    just_signed_in(browser)
    theirs = f"/o/{stranger.organization.slug}/credit/cards/{card.public_id}/"

    assert browser.post(f"{theirs}remove/").status_code == browser.post(f"{theirs}default/").status_code == 404
    assert browser.get(f"/o/{organization.slug}/credit/cards/").status_code == 404
    assert "4242" not in page_of(browser, stranger.organization)
    assert "Open the payment provider" not in page_of(browser, stranger.organization)


def test_the_default_is_chosen_and_the_next_one_takes_its_place(double, browser, organization):
    first = keep_card(double, browser, organization)
    second = keep_card(double, browser, organization, "5555555555554444")
    address = f"/o/{organization.slug}/credit/cards"
    just_signed_in(browser).post(f"{address}/{second.public_id}/default/")

    assert list(PaymentMethod.objects.usable()) == [second, first]
    assert AuditEvent.objects.filter(action="card.default_changed").count() == 1
    browser.post(f"{address}/{second.public_id}/default/")
    assert AuditEvent.objects.filter(action="card.default_changed").count() == 1
    browser.post(f"{address}/{second.public_id}/remove/")
    assert PaymentMethod.objects.usable().get() == first
    assert PaymentMethod.objects.get(is_default=True) == first
    browser.post(f"{address}/{second.public_id}/default/")
    assert PaymentMethod.objects.get(is_default=True) == first
    with pytest.raises(IntegrityError, match="can_be_charged"), transaction.atomic():
        PaymentMethod.objects.filter(pk=second.pk).update(is_default=True)


def test_a_removed_card_is_forgotten_by_the_provider_and_never_comes_back(double, browser, organization):
    card = keep_card(double, browser, organization)
    account = BillingAccount.objects.get()
    then = [CardSeen(card.stripe_payment_method_id, "visa", "4242", 12, 2030)]
    for _ in range(2):
        browser.post(f"/o/{organization.slug}/credit/cards/{card.public_id}/remove/")
    assert PaymentMethod.objects.usable().count() == 0
    double.control("fail", kind="500", count=3, path="/v1/payment_methods", method="get")
    assert let_cards_go(now=timezone.now()) == 0
    for _ in range(3):
        let_cards_go(now=timezone.now())

    assert double.v1.payment_methods.list({"customer": account.stripe_customer_id}).data == []
    hear()
    # As when an older view comes late.
    assert settle_cards(organization_id=organization.pk, seen=then, now=timezone.now()) == 0
    assert "No card is kept" in page_of(browser, organization)
    assert AuditEvent.objects.filter(action="card.removed").count() == 1


def test_what_is_changed_on_the_providers_pages_is_followed(double, browser, organization):
    card = keep_card(double, browser, organization)
    answer = just_signed_in(browser).post(f"/o/{organization.slug}/credit/cards/portal/").content.decode()
    assert re.search(rf'href="{double.url}/p/[^"]+"', answer)
    double.v1.payment_methods.update(card.stripe_payment_method_id, {"card": {"exp_month": 3, "exp_year": 2041}})
    hear()
    assert "03/2041" in page_of(browser, organization)
    double.v1.payment_methods.detach(card.stripe_payment_method_id)
    hear()

    card.refresh_from_db()
    assert (card.is_attached, card.is_default, card.removed_at) == (False, False, None)
    assert AuditEvent.objects.filter(action="card.gone", target_id=card.public_id).exists()


def test_a_card_that_its_bank_refuses_is_not_kept(double, browser, organization):
    begun = browser.post(f"/o/{organization.slug}/credit/cards/add/")
    browser.get(begun.url)
    session = double.v1.checkout.sessions.list().data[0]
    # The double answers as the page would.
    with pytest.raises(Exception, match="HTTP Error 402"):
        double.control("checkout", session=session.id, card=DECLINED)
    hear()

    assert not PaymentMethod.objects.exists()


def test_one_that_wants_3d_secure_is_kept_once_it_was_given(double, browser, organization):
    set_up(double, browser, organization, THREE_D_SECURE)
    hear()
    assert not PaymentMethod.objects.exists()
    intent = double.v1.setup_intents.list().data[0]
    double.control("authenticate", intent=intent.id)
    hear()

    assert PaymentMethod.objects.get().last_four == "3155"


def test_ten_cards_are_enough_and_nothing_is_kept_without_a_provider(double, browser, organization):
    for _ in range(MOST_CARDS):
        make_card(organization)
    answer = browser.post(f"/o/{organization.slug}/credit/cards/add/", follow=True)
    assert "There are ten cards" in answer.content.decode()
    assert not BillingAccount.objects.exists()
    assert browser.get(f"/o/{organization.slug}/credit/cards/page/").status_code == 302
    portal = just_signed_in(browser).post(f"/o/{organization.slug}/credit/cards/portal/", follow=True)
    assert "does not know this organization" in portal.content.decode()
    with override_settings(STRIPE_SECRET_KEY=""):
        assert "Add a card" not in page_of(browser, organization)
        answer = browser.post(f"/o/{organization.slug}/credit/cards/add/", follow=True)
        assert "not set up" in answer.content.decode()
    assert double.look("requests") == []


@pytest.mark.parametrize("kind", ["500", "drop", "429"])
def test_a_provider_in_trouble_says_so_and_can_be_asked_again(double, browser, organization, kind, monkeypatch):
    start_card_setup(organization=organization, now=timezone.now())
    double.control("fail", kind=kind, count=2, path="/v1/", method="post")
    page = f"/o/{organization.slug}/credit/cards/page/"

    answers = [browser.get(page) for _ in range(3)]

    assert answers[0].status_code == 409
    assert "cannot be reached" in answers[0].content.decode()
    assert answers[-1].status_code == 200


def test_cards_of_others_are_none_of_ours(double, browser, organization):
    theirs = double.customer()
    method = theirs.invoice_settings.default_payment_method
    assert tell(browser, message("payment_method.attached", method)).status_code == 200
    work_events(now=timezone.now())

    assert StripeEvent.objects.get().state == "ignored"
    assert read_cards(organization_id=organization.pk, now=timezone.now() + timedelta(days=1)) == 0
