"""Finance proposes and approves refunds in the admin, each by who may."""

import pytest
from django.test import Client
from django.utils.html import escape

from accounts.services.staff import StaffGroup
from billing.models import Refund
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import make_bought_credit, make_refund

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/refund/"
READERS = {StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture
def payment():
    return make_bought_credit(make_organization(name="Acme AI"), intent_id="pi_1")


def form(of, **changes: str) -> dict[str, str]:
    return {"payment": of.public_id, "amount": "10.00", "reason": "Bought twice"} | changes


def press(client: Client, refund: Refund, step: str) -> int:
    return client.post(f"{LIST}{refund.public_id}/", {"step": step}).status_code


def test_a_refund_goes_from_one_pair_of_hands_to_another(payment):
    one, other = (browser_of(make_staff(StaffGroup.FINANCE)) for _ in range(2))

    answer = one.post(LIST, form(payment))
    refund = Refund.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}{refund.public_id}/")
    assert "Approve" not in one.get(answer["Location"]).content.decode()
    assert [press(one, refund, "approve"), press(other, refund, "nonsense")] == [422, 422]
    page = other.get(answer["Location"]).content.decode()
    assert "Approve" in page
    assert "Bought twice" in page
    assert [press(other, refund, "approve"), press(other, refund, "decline")] == [302, 422]

    refund.refresh_from_db()
    assert refund.state == "approved"
    listed = one.get(LIST, {"organization": payment.organization.slug}).content.decode()
    assert refund.public_id in listed
    assert refund.public_id not in one.get(LIST, {"organization": make_organization().slug}).content.decode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"payment": "pay_nobody"}, "no payment with this id"),
        ({"payment": "pay\0"}, "Null characters"),
        ({"amount": "0"}, "greater than or equal to 0.01"),
        ({"amount": "25.01"}, "$25.00 of this payment are unspent"),
        ({"amount": "1.001"}, "no more than 2 decimal places"),
        ({"amount": "NaN"}, "Enter a number"),
        ({"reason": ""}, "required"),
        ({"reason": "x" * 301}, "at most 300"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(payment, changes, words):
    answer = browser_of(make_staff(StaffGroup.FINANCE)).post(LIST, form(payment, **changes))

    assert (answer.status_code, Refund.objects.count()) == (422, 0)
    assert words in answer.content.decode()


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_and_decides_as_it_may(payment, group):
    client = browser_of(make_staff(group))
    refund = make_refund(payment)
    status = 200 if group in READERS else 403

    assert client.get(LIST).status_code == client.get(f"{LIST}{refund.public_id}/").status_code == status
    assert (f'href="{escape(LIST)}"' in client.get("/admin/").content.decode()) == (group in READERS)
    assert press(client, refund, "decline") == (302 if group == StaffGroup.FINANCE else 403)
    assert client.post(LIST, form(payment)).status_code == (302 if group == StaffGroup.FINANCE else 403)


def test_who_signed_in_long_ago_is_asked_again_and_a_missing_one_is_not_found(payment):
    refund = make_refund(payment)
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)

    assert press(client, refund, "approve") == 302
    assert client.post(LIST, form(payment)).status_code == 302
    assert client.get(f"{LIST}refund_none/").status_code == client.get(f"{LIST}a%00b/").status_code == 404
    refund.refresh_from_db()
    assert (refund.state, Refund.objects.count()) == ("asked", 1)
