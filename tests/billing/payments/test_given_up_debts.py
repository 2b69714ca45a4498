"""What a lost dispute left owed is given up by two people, once, and is a loss in the ledger."""

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, GivenUpDebt
from billing.selectors.debts import debts_of
from billing.services.given_up_debts import UnableToGiveUp, give_up_debt, propose_giving_up
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.billing.payments.test_debts import differences, owing, transferred
from tests.billing.payments.test_disputes import standing_of
from tests.billing.payments.test_refunds import books
from tests.billing.payments.test_top_ups import limit_nano
from tests.factories.accounts import make_organization
from tests.factories.billing import make_given_up_debt

PAGE = "/admin/billing/givenupdebt/"


@pytest.fixture
def finance(db):
    return browser_of(make_staff(StaffGroup.FINANCE))


def proposal(organization, /, **changes):
    return {"step": "propose", "organization": organization.slug, "reason": "Out of business"} | changes


def test_it_takes_two_people_and_is_owed_no_more(double, browser, organization, finance):
    owing(double, browser, organization)
    limit = limit_nano(organization)
    assert finance.post(PAGE, proposal(organization)).status_code == 302
    debt = GivenUpDebt.objects.get()
    given = {"step": "give_up", "proposal": debt.public_id}
    own = finance.post(PAGE, given)
    assert own.status_code == 422
    assert "Somebody else than who proposed it gives it up." in own.content.decode()
    assert (debt.amount_cents, debts_of(organization.pk).cents) == (400, 400)

    second = browser_of(make_staff(StaffGroup.FINANCE))
    assert 'value="give_up"' in second.get(PAGE).content.decode()
    for _ in range(2):
        assert second.post(PAGE, given).status_code == 302

    assert (debts_of(organization.pk).cents, standing_of(organization)) == (0, "good")
    assert books(organization)[AccountKind.WRITE_OFF] == 4 * NANO_PER_USD
    assert books(organization)[AccountKind.RECEIVABLE] == 0
    assert limit_nano(organization) == limit
    assert differences(organization) == []
    written = AuditEvent.objects.filter(target_id=debt.public_id).order_by("sequence")
    assert list(written.values_list("action", "via")) == [
        ("debt.giving_up_proposed", "staff"),
        ("debt.given_up", "staff"),
    ]


def test_what_was_paid_meanwhile_is_not_given_up_too(double, browser, organization, finance):
    owing(double, browser, organization)
    people = [make_staff(StaffGroup.FINANCE) for _ in range(2)]
    make_given_up_debt(make_organization("Elsewhere"))  # is no other proposal of ours
    with as_platform():
        debt = propose_giving_up(organization=organization, reason="Bankrupt", by=people[0], now=timezone.now())
        with pytest.raises(UnableToGiveUp, match="Another proposal"):
            propose_giving_up(organization=organization, reason="Bankrupt", by=people[1], now=timezone.now())
    transferred(organization, 1_00, 1_00)

    with as_platform(), pytest.raises(UnableToGiveUp, match="Less is owed by now"):
        give_up_debt(debt=debt, by=people[1], now=timezone.now())
    assert finance.post(PAGE, {"step": "decline", "proposal": debt.public_id}).status_code == 302
    debt.refresh_from_db()
    assert (debt.status, debts_of(organization.pk).cents) == ("declined", 300)
    assert differences(organization) == []


def test_bad_input_is_told_and_changes_nothing(organization, finance):
    for changes, sentence in (
        ({}, "Nothing is owed of payments that were taken back."),
        ({"organization": "nobody"}, "There is no organization with this address."),
        ({"reason": " "}, "This field is required."),
    ):
        answer = finance.post(PAGE, proposal(organization, **changes))
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert not GivenUpDebt.objects.exists()
    for name in ("adj_nobody", "", "\0"):
        assert finance.post(PAGE, {"step": "give_up", "proposal": name}).status_code == 404


def test_only_finance_decides_and_the_auditor_reads(organization):
    debt = make_given_up_debt(organization)
    for group in StaffGroup:
        client = browser_of(make_staff(group))
        may_read = group in (StaffGroup.FINANCE, StaffGroup.AUDITOR)
        assert client.get(PAGE).status_code == (200 if may_read else 403)
        if group is not StaffGroup.FINANCE:
            for given in (proposal(organization), {"step": "decline", "proposal": debt.public_id}):
                assert client.post(PAGE, given).status_code == 403
    old = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)
    assert "confirm-it-is-you" in old.post(PAGE, {"step": "decline", "proposal": debt.public_id}).headers["Location"]
    debt.refresh_from_db()
    assert debt.status == "proposed"


def test_what_is_decided_does_not_change(organization):
    debt = make_given_up_debt(organization)
    GivenUpDebt.objects.filter(pk=debt.pk).update(status="declined", decided_by="user_b", decided_at=timezone.now())

    with pytest.raises(DatabaseError, match="decided"), transaction.atomic():
        GivenUpDebt.objects.filter(pk=debt.pk).update(amount_cents=2)
    with pytest.raises(DatabaseError, match="decided"), transaction.atomic():
        debt.delete()
