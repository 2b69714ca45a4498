"""Credit as a goodwill: one of finance proposes it, another gives it, once, and it is in the ledger and the log."""

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from accounts.models import AuditEvent, Organization
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, CreditGrant, Goodwill, LedgerAccount, SpendCap
from billing.selectors import prove_ledger
from billing.services.credits import lock_cap
from billing.services.goodwill import LARGEST_CENTS, UnableToGive, give_goodwill, propose_goodwill
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import set_organization
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_goodwill
from tests.own_database import SUPERUSER, OwnDatabase

PAGE = "/admin/billing/goodwill/"
READERS = {StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}
STARTER = 5 * NANO_PER_USD


@pytest.fixture
def organization(db) -> Organization:
    return make_organization("Acme AI")


@pytest.fixture
def finance(db):
    return browser_of(make_staff(StaffGroup.FINANCE))


def proposal(organization: Organization, /, **changes: str) -> dict[str, str]:
    given = {"step": "propose", "organization": organization.slug, "amount": "10.00", "reason": "Outage of a day"}
    return {**given, **changes}


def limit_nano(organization: Organization) -> int:
    return lock_cap(organization_id=organization.pk, now=NOW).limit_nano


def test_it_takes_two_people_and_is_given_once(organization, finance):
    assert finance.post(PAGE, proposal(organization)).status_code == 302
    goodwill = Goodwill.objects.get()
    given = {"step": "give", "proposal": goodwill.public_id}
    own = finance.post(PAGE, given)
    assert own.status_code == 422
    assert "Somebody else than who proposed it gives it." in own.content.decode()
    assert limit_nano(organization) == STARTER

    second = browser_of(make_staff(StaffGroup.FINANCE))
    assert 'value="give"' in second.get(PAGE).content.decode()
    for _ in range(2):
        assert second.post(PAGE, given).status_code == 302

    goodwill.refresh_from_db()
    assert goodwill.status == "given"
    assert limit_nano(organization) == STARTER + 10 * NANO_PER_USD
    grant = CreditGrant.objects.get(kind=CreditGrant.Kind.PROMOTIONAL)
    assert (grant.amount_nano, grant.source) == (10 * NANO_PER_USD, f"goodwill:{goodwill.public_id}")
    account = LedgerAccount.objects.get(grant=grant)
    assert (account.kind, account.balance_nano) == (AccountKind.PROMOTIONAL_CREDIT, 10 * NANO_PER_USD)
    assert prove_ledger().is_whole
    written = (
        AuditEvent.objects.filter(target_id=goodwill.public_id)
        .order_by("sequence")
        .values_list("action", "actor_id", "via")
    )
    assert list(written) == [
        ("goodwill.proposed", goodwill.proposed_by, "staff"),
        ("goodwill.given", goodwill.decided_by, "staff"),
    ]


def test_one_that_is_declined_gives_nothing_ever(organization, finance):
    goodwill = make_goodwill(organization)
    assert finance.post(PAGE, {"step": "decline", "proposal": goodwill.public_id}).status_code == 302
    answer = finance.post(PAGE, {"step": "give", "proposal": goodwill.public_id})
    assert answer.status_code == 422
    assert "decided already" in answer.content.decode()
    assert limit_nano(organization) == STARTER


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"organization": "nobody"}, "There is no organization with this address."),
        ({"amount": "0"}, "greater than or equal to 0.01"),
        ({"amount": "10000.01"}, "$10,000.00 at the most."),
        ({"amount": "1.005"}, "2 decimal places"),
        ({"reason": "because"}, "in 10 to 300 characters"),
        ({"reason": ""}, "This field is required."),
    ],
)
def test_bad_input_is_told_and_changes_nothing(organization, finance, changes, sentence):
    answer = finance.post(PAGE, proposal(organization, **changes))
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Goodwill.objects.exists()


def test_what_is_not_there_is_missing_and_what_means_nothing_does_nothing(organization, finance):
    goodwill = make_goodwill(organization)
    for name in ("adj_nobody", "", "\0"):
        assert finance.post(PAGE, {"step": "give", "proposal": name}).status_code == 404
    assert finance.post(PAGE, {"step": "nonsense", "proposal": goodwill.public_id}).status_code == 422
    goodwill.refresh_from_db()
    assert goodwill.status == "proposed"


@pytest.mark.parametrize("group", StaffGroup)
def test_only_those_whose_work_it_is_read_and_only_finance_acts(organization, group):
    staff = make_staff(group)
    client = browser_of(staff)
    assert client.get(PAGE).status_code == (200 if group in READERS else 403)
    goodwill = make_goodwill(organization)
    for given in (proposal(organization), {"step": "give", "proposal": goodwill.public_id}):
        assert client.post(PAGE, given).status_code == (302 if group is StaffGroup.FINANCE else 403)
    if group is not StaffGroup.FINANCE:
        with pytest.raises(UnableToGive, match="may not propose"):
            propose_goodwill(organization=organization, amount_cents=1, reason="Outage of a day", by=staff, now=NOW)
        with pytest.raises(UnableToGive, match="may not decide"):
            give_goodwill(goodwill=goodwill, by=staff, now=NOW)


def test_who_signed_in_long_ago_is_asked_again(organization):
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)
    assert "confirm-it-is-you" in client.post(PAGE, proposal(organization)).headers["Location"]
    assert not Goodwill.objects.exists()


def test_the_database_refuses_one_person_and_changes_of_what_is_decided(organization):
    goodwill = make_goodwill(organization)
    mine = Goodwill.objects.filter(pk=goodwill.pk)
    with pytest.raises(IntegrityError, match="goodwill_by_two_people"), transaction.atomic():
        mine.update(status="given", decided_by="user_staff", decided_at=NOW)
    mine.update(status="given", decided_by="user_other", decided_at=NOW)
    with pytest.raises(DatabaseError, match="does not change"), transaction.atomic():
        mine.update(amount_cents=LARGEST_CENTS)
    with pytest.raises(DatabaseError, match="does not change"), transaction.atomic():
        mine.delete()


def test_two_who_give_at_once_give_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()
        goodwill = make_goodwill(organization)
        people = [make_staff(StaffGroup.FINANCE) for _ in range(2)]

        given = own_database.in_threads(
            4, lambda number: give_goodwill(goodwill=goodwill, by=people[number % 2], now=NOW)
        )

        assert [type(one) for one in given] == [Goodwill] * 4
        assert CreditGrant.objects.filter(kind=CreditGrant.Kind.PROMOTIONAL).count() == 1
        assert SpendCap.objects.of_organization(organization.pk).get().limit_nano == STARTER + 10 * NANO_PER_USD
    with own_database.in_use(), transaction.atomic():
        # No role that works for customers gives itself credit so.
        set_organization(organization.pk)
        with pytest.raises(DatabaseError, match="permission denied"):
            make_goodwill(organization)
