"""Domains: claimed by anybody, verified by a record only, by one organization only, and for as long as it is there."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from accounts import selectors
from accounts.models import AuditEvent, Domain, DomainState, Membership, Notice, Organization, Role, User
from accounts.models.domain import CHECK_EVERY, GRACE
from accounts.services.domain_join import OfferNotFound, UnableToJoin, join_by_domain
from accounts.services.domains import (
    MAXIMUM_DOMAINS,
    UnableToAddDomain,
    UnableToChangeDomain,
    UnableToVerifyDomain,
    add_domain,
    check_domain,
    enqueue_due_checks,
    public_mail_domains,
    remove_domain,
    set_join_role,
    verify_domain,
)
from accounts.services.notices import mail_notices
from portal.lib.domain_names import UnreadableDomain, canonical_domain, domain_of
from portal.lib.tenancy import _role, as_platform, set_organization, set_user
from tests.doubles.nameserver import Nameserver, running_nameserver
from tests.factories.accounts import make_domain, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def nameserver(settings: Any) -> Iterator[Nameserver]:
    with running_nameserver() as server:
        settings.DNS_RESOLVERS = [server.address]
        yield server


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme")


@pytest.fixture
def owner(organization: Organization) -> Membership:
    return make_membership(organization, make_user("olga@acme.example"))


def set_record(nameserver: Nameserver, domain: Domain, *texts: str) -> None:
    nameserver.records[domain.record_name] = list(texts) or [domain.record_value]


def make_person(email: str, *, verified: bool = True) -> User:
    user = make_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    return user


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Example.COM", "example.com"),
        (" example.com. ", "example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("mail.example.co.uk", "mail.example.co.uk"),
    ],
)
def test_a_domain_has_one_form(typed: str, stored: str):
    assert canonical_domain(typed) == stored


@pytest.mark.parametrize(
    "typed",
    [
        *("", "com", "https://example.com", "ada@example.com", "*.example.com", "exa mple.com", "192.0.2.7"),
        *("-a.example", "a..example", "_x.example", f"{'a' * 64}.example", ".".join(["a" * 60] * 5)),
        *("example.com/x", "a\x00.example"),
    ],
)
def test_what_is_no_domain_is_refused_in_words(typed: str, owner: Membership):
    with pytest.raises(UnreadableDomain, match="is no domain"):
        canonical_domain(typed)
    with pytest.raises(UnableToAddDomain, match="is no domain"):
        add_domain(name=typed, by=owner, now=NOW)
    assert not Domain.objects.exists()


def test_the_domain_of_an_address():
    assert domain_of("Ada@BÜCHER.example") == "xn--bcher-kva.example"
    assert [domain_of(text) for text in ("ada", "@example.com", "ada@", "ada@com", "a@b@example.com")] == [
        "",
        "",
        "",
        "",
        "example.com",
    ]


# --- Claiming and verifying ----------------------------------------------------------------------


def test_a_record_verifies_and_nothing_less(nameserver: Nameserver, owner: Membership):
    domain = add_domain(name="Acme.example", by=owner, now=NOW)
    for records in ([], ["something else"], [domain.record_value.upper()], [f"{domain.record_value} "]):
        nameserver.records[domain.record_name] = records
        with pytest.raises(UnableToVerifyDomain, match="The record is not there"):
            verify_domain(domain=domain, by=owner, now=NOW)
    nameserver.records = {domain.name: [domain.record_value]}
    with pytest.raises(UnableToVerifyDomain, match="The record is not there"):
        verify_domain(domain=domain, by=owner, now=NOW)
    assert selectors.organization_id_of_domain("acme.example") is None

    set_record(nameserver, domain, "v=spf1 -all", domain.record_value)
    domain = verify_domain(domain=domain, by=owner, now=NOW)

    assert (domain.state(), domain.verified_at) == (DomainState.VERIFIED, NOW)
    assert selectors.organization_id_of_domain("acme.example") == owner.organization_id
    assert actions() == ["domain.added", "domain.verified"]
    verify_domain(domain=domain, by=owner, now=NOW + timedelta(hours=1))
    assert actions() == ["domain.added", "domain.verified"]


def test_silent_name_servers_change_nothing(nameserver: Nameserver, owner: Membership):
    domain = add_domain(name="acme.example", by=owner, now=NOW)
    nameserver.is_broken = True

    with pytest.raises(UnableToVerifyDomain, match="do not answer"):
        verify_domain(domain=domain, by=owner, now=NOW)

    assert Domain.objects.get().state() is DomainState.PENDING


def test_a_record_in_pieces_is_read_whole(nameserver: Nameserver, owner: Membership):
    domain = add_domain(name="acme.example", by=owner, now=NOW)
    Domain.objects.update(token="a" * 64)
    domain.refresh_from_db()
    set_record(nameserver, domain, "x" * 600, domain.record_value)

    assert verify_domain(domain=domain, by=owner, now=NOW).is_verified


@pytest.mark.parametrize("name", ["gmail.com", "Outlook.COM", "web.de."])
def test_domains_of_public_mail_are_refused(name: str, owner: Membership):
    with pytest.raises(UnableToAddDomain, match="Anybody may have an address"):
        add_domain(name=name, by=owner, now=NOW)


def test_the_list_of_public_mail_is_in_the_form_that_is_compared():
    assert {canonical_domain(name) for name in public_mail_domains()} == public_mail_domains()
    assert len(public_mail_domains()) >= 40


def test_what_another_organization_verified_is_refused_from_adding_to_verifying(
    nameserver: Nameserver, owner: Membership
):
    domain = add_domain(name="acme.example", by=owner, now=NOW)
    set_record(nameserver, domain)
    theirs = make_domain(make_organization("Theirs"), "acme.example")

    with pytest.raises(UnableToVerifyDomain, match="Another organization has verified"):
        verify_domain(domain=domain, by=owner, now=NOW)
    assert not Domain.objects.get(pk=domain.pk).is_verified
    remove_domain(domain=domain, by=owner, now=NOW)
    with pytest.raises(UnableToAddDomain, match="Another organization has verified"):
        add_domain(name="ACME.example", by=owner, now=NOW)

    theirs.delete()
    assert add_domain(name="acme.example", by=owner, now=NOW).pk


def test_the_database_lets_one_organization_verify_a_domain(owner: Membership):
    make_domain(owner.organization, "acme.example")

    with pytest.raises(IntegrityError), transaction.atomic():
        make_domain(make_organization(), "acme.example")


def test_the_database_lets_nobody_join_by_a_domain_that_is_not_verified(owner: Membership):
    with pytest.raises(IntegrityError), transaction.atomic():
        make_domain(owner.organization, "acme.example", verified_at=None, join_role=Role.VIEWER)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_domain(owner.organization, "acme.example", join_role=Role.ADMIN)


def test_a_domain_is_listed_once_and_there_is_an_end(owner: Membership):
    add_domain(name="acme.example", by=owner, now=NOW)
    with pytest.raises(UnableToAddDomain, match="in the list already"):
        add_domain(name="ACME.example.", by=owner, now=NOW)

    for number in range(MAXIMUM_DOMAINS - 1):
        add_domain(name=f"acme-{number}.example", by=owner, now=NOW)
    with pytest.raises(UnableToAddDomain, match="at most"):
        add_domain(name="one-more.example", by=owner, now=NOW)


def test_who_lost_the_role_meanwhile_changes_nothing(nameserver: Nameserver, owner: Membership):
    domain = add_domain(name="acme.example", by=owner, now=NOW)
    set_record(nameserver, domain)
    Membership.objects.filter(pk=owner.pk).update(role=Role.DEVELOPER)

    for change in (
        lambda: add_domain(name="other.example", by=owner, now=NOW),
        lambda: verify_domain(domain=domain, by=owner, now=NOW),
        lambda: set_join_role(domain=domain, role=None, by=owner, now=NOW),
        lambda: remove_domain(domain=domain, by=owner, now=NOW),
    ):
        with pytest.raises((UnableToAddDomain, UnableToVerifyDomain, UnableToChangeDomain), match="role has changed"):
            change()


# --- Every day -----------------------------------------------------------------------------------


def checked(domain: Domain, at: datetime) -> Domain:
    found = check_domain(domain_id=domain.pk, now=at)
    assert found is not None
    return found


def test_a_record_that_goes_is_reported_and_after_seven_days_the_domain_is_lost(
    nameserver: Nameserver, owner: Membership
):
    domain = make_domain(owner.organization, "acme.example", verified_at=NOW, join_role=Role.DEVELOPER)
    make_membership(owner.organization, make_user("second@acme.example"))
    make_membership(owner.organization, role=Role.ADMIN)

    first = NOW + CHECK_EVERY
    assert checked(domain, first).state() is DomainState.FAILING
    for day in range(1, GRACE.days):
        assert checked(domain, first + timedelta(days=day)).is_verified
    with as_platform():
        mail_notices(now=first)
    assert sorted(message.to[0] for message in mail.outbox) == ["olga@acme.example", "second@acme.example"]
    assert domain.record_value in mail.outbox[0].body
    assert mail.outbox[0].subject == "The record of acme.example is missing"

    lost = checked(domain, first + GRACE)
    assert (lost.state(), lost.join_role, lost.failing_since) == (DomainState.PENDING, "", None)
    assert selectors.organization_id_of_domain("acme.example") is None
    with as_platform():
        assert mail_notices(now=first + GRACE) == 1
        assert mail_notices(now=first + GRACE) == 0
    assert mail.outbox[-1].subject == "acme.example is no longer verified"
    assert actions() == ["domain.record_missing", "domain.lost"]


def test_a_record_that_comes_back_ends_the_grace(nameserver: Nameserver, owner: Membership):
    domain = make_domain(owner.organization, "acme.example", verified_at=NOW)
    checked(domain, NOW + CHECK_EVERY)
    set_record(nameserver, domain)

    assert checked(domain, NOW + 2 * CHECK_EVERY).failing_since is None
    nameserver.records.clear()
    again = checked(domain, NOW + 3 * CHECK_EVERY)
    assert again.failing_since == NOW + 3 * CHECK_EVERY


def test_a_press_brings_a_failing_domain_back(nameserver: Nameserver, owner: Membership):
    domain = make_domain(owner.organization, "acme.example", verified_at=NOW)
    checked(domain, NOW + CHECK_EVERY)
    set_record(nameserver, domain)

    domain = verify_domain(domain=domain, by=owner, now=NOW + CHECK_EVERY)

    assert (domain.state(), domain.verified_at) == (DomainState.VERIFIED, NOW)
    assert actions()[-1] == "domain.seen_again"


def test_silent_name_servers_never_take_a_domain(nameserver: Nameserver, owner: Membership):
    domain = make_domain(owner.organization, "acme.example", verified_at=NOW)
    nameserver.is_broken = True

    for day in range(1, 30):
        assert checked(domain, NOW + timedelta(days=day)).state() is DomainState.VERIFIED


def test_each_verified_domain_is_looked_at_once_a_day(
    nameserver: Nameserver, owner: Membership, django_capture_on_commit_callbacks: Any
):
    domain = make_domain(owner.organization, "acme.example", verified_at=NOW)
    make_domain(owner.organization, "claimed.example", verified_at=None)
    set_record(nameserver, domain)

    with as_platform():
        assert enqueue_due_checks(now=NOW + CHECK_EVERY - timedelta(seconds=1)) == 0
        assert enqueue_due_checks(now=NOW + CHECK_EVERY) == 1
    checked(domain, NOW + CHECK_EVERY)
    assert check_domain(domain_id=domain.pk, now=NOW + CHECK_EVERY) is None
    assert len(nameserver.asked) == 1
    with as_platform():
        assert enqueue_due_checks(now=NOW + CHECK_EVERY) == 0


# --- Joining -------------------------------------------------------------------------------------


@pytest.fixture
def joinable(owner: Membership) -> Domain:
    return make_domain(owner.organization, "acme.example", join_role=Role.DEVELOPER)


def offers_to(user: User) -> list[str]:
    with transaction.atomic(), _role("headroom_app"):
        set_user(user.pk)
        return [offer.organization for offer in selectors.join_offers(user)]


def test_who_proved_an_address_of_the_domain_joins_with_one_press(client: Client, owner: Membership, joinable: Domain):
    ada = make_person("Ada@ACME.example")
    client.force_login(ada, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(reverse("accounts:welcome")).content.decode()
    assert "Acme" in page
    assert reverse("accounts:domain-join", args=[joinable.public_id]) in page

    answer = client.post(reverse("accounts:domain-join", args=[joinable.public_id]), follow=True)

    assert answer.redirect_chain[0][0].startswith(f"/o/{owner.organization.slug}/")
    assert Membership.objects.get(user=ada).role == Role.DEVELOPER
    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id) == ("member.joined", ada.public_id)
    assert "acme.example" not in entry.changes.lower()
    with as_platform():
        mail_notices(now=datetime.now(UTC))
    assert [message.to for message in mail.outbox] == [["olga@acme.example"]]
    assert "Ada@acme.example has joined Acme" in mail.outbox[0].body
    assert offers_to(ada) == []
    with pytest.raises(OfferNotFound):
        join_by_domain(public_id=joinable.public_id, user=ada, now=NOW)


def closing(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(closes_at=NOW + timedelta(days=30))


def closed(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(closes_at=NOW, closed_at=NOW)


@pytest.mark.parametrize(
    ("email", "verified", "spoil"),
    [
        ("ada@acme.example", False, lambda organization: None),
        ("ada@sub.acme.example", True, lambda organization: None),
        ("ada@notacme.example", True, lambda organization: None),
        ("acme.example@evil.example", True, lambda organization: None),
        ("ada@acme.example", True, lambda organization: Domain.objects.update(join_role="")),
        ("ada@acme.example", True, lambda organization: Domain.objects.update(verified_at=None, join_role="")),
        ("ada@acme.example", True, closing),
        ("ada@acme.example", True, closed),
    ],
)
def test_nobody_else_joins_or_learns_of_it(joinable: Domain, email: str, verified: bool, spoil: Any, client: Client):
    stranger = make_person(email, verified=verified)
    spoil(joinable.organization)

    assert offers_to(stranger) == []
    with pytest.raises(OfferNotFound):
        join_by_domain(public_id=joinable.public_id, user=stranger, now=NOW)
    client.force_login(stranger, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.post(reverse("accounts:domain-join", args=[joinable.public_id])).status_code == 404
    assert not Membership.objects.filter(user=stranger).exists()


def test_an_organization_is_not_joined_beyond_its_size(joinable: Domain, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("accounts.services.domain_join.MAXIMUM_MEMBERS", 1)
    ada = make_person("ada@acme.example")

    with pytest.raises(UnableToJoin, match="as many members"):
        join_by_domain(public_id=joinable.public_id, user=ada, now=NOW)


def test_looking_for_offers_leaves_the_transaction_in_no_organization(joinable: Domain):
    ada = make_person("ada@acme.example")
    other = make_organization()

    with transaction.atomic(), _role("headroom_app"):
        set_user(ada.pk)
        set_organization(other.pk)
        assert selectors.join_offers(ada)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM accounts_domain")
            assert cursor.fetchone() == (0,)


def test_a_role_to_join_as_needs_a_verified_domain_and_is_small(owner: Membership, joinable: Domain):
    claimed = make_domain(owner.organization, "claimed.example", verified_at=None)
    with pytest.raises(UnableToChangeDomain, match="Verify"):
        set_join_role(domain=claimed, role=Role.VIEWER, by=owner, now=NOW)
    for role in (Role.OWNER, Role.ADMIN, Role.BILLING):
        with pytest.raises(UnableToChangeDomain, match="viewers or developers"):
            set_join_role(domain=joinable, role=role, by=owner, now=NOW)

    set_join_role(domain=joinable, role=None, by=owner, now=NOW)
    assert Domain.objects.get(pk=joinable.pk).join_role == ""


def test_a_newcomer_with_colleagues_is_offered_their_organization_and_gets_none_of_their_own(
    client: Client, joinable: Domain
):
    client.post(reverse("account_signup"), {"email": "new@acme.example"})
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))

    answer = client.post(reverse("account_email_verification_sent"), {"code": code}, follow=True)

    assert "Your colleagues are here" in answer.content.decode()
    assert Organization.objects.count() == 1


def test_pages_say_what_was_wrong_and_lead_through(client: Client, nameserver: Nameserver, owner: Membership):
    client.force_login(owner.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp()
    session.save()
    slug = owner.organization.slug
    refused = client.post(reverse("accounts:domain-list", args=[slug]), {"name": "gmail.com"})
    assert refused.status_code == 422
    assert "Anybody may have an address at gmail.com" in refused.content.decode()

    page = client.post(reverse("accounts:domain-list", args=[slug]), {"name": "acme.example"}, follow=True)
    domain = Domain.objects.get()
    assert domain.record_name in page.content.decode()
    assert domain.record_value in page.content.decode()
    verify = reverse("accounts:domain-verify", args=[slug, domain.public_id])
    assert "The record is not there" in client.post(verify, follow=True).content.decode()
    set_record(nameserver, domain)
    assert "acme.example is verified" in client.post(verify, follow=True).content.decode()
    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id) == ("domain.verified", owner.user.public_id)
    assert entry.origin_id
    assert entry.request_id
    detail = reverse("accounts:domain-detail", args=[slug, domain.public_id])
    assert client.post(detail, {"join_role": "owner"}).status_code == 422
    client.post(detail, {"join_role": "viewer"})
    assert Domain.objects.get().join_role == Role.VIEWER
    client.post(reverse("accounts:domain-remove", args=[slug, domain.public_id]))
    assert not Domain.objects.exists()
    assert not Notice.objects.exists()
