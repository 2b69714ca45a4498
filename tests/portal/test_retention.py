"""The registry knows every table and column there is; what it says is past its time goes then, and not before."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import Error, connection, transaction

from accounts.models import AuditEvent, AuditOrigin, KeptAnswer, Notice, Organization, RetiredSecret
from accounts.models.invitation import LIFE
from accounts.services.audit import record_event
from accounts.services.idempotency import forget_answers
from billing.models import StripeEvent, UsageEvent, UsageFate
from billing.services.partitions import make_partitions
from dev.paths import ROOT
from inference.models import IdempotencyClaim, Receipt
from portal.lib.context import Actor, Origin, forget, remember_actor, remember_origin
from portal.lib.retention import Age, Deleted, LeftOut, Part, Whose
from portal.lib.tenancy import _role, as_platform
from portal.retention import TABLES, delete_past, retention_table
from tests.doubles.provider import message
from tests.factories.accounts import make_invitation, make_key, make_membership, make_organization, make_user
from tests.factories.inference import make_receipt

# The owner's functions compare with the database's own clock, so rows are put before the present.
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
BY_NAME = {table.name: table for table in TABLES}


def ask(query: str, *values: str | list[str]) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def tables() -> set[str]:
    """Every table of the database; the days of a partitioned one are in it."""
    rows = ask(
        """
        SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
        EXCEPT SELECT relname FROM pg_class WHERE relispartition
        """
    )
    return {name for (name,) in rows}


def columns(table: str) -> set[str]:
    rows = ask("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table)
    return {name for (name,) in rows}


@pytest.mark.django_db
def test_every_table_is_registered_once_and_exists():
    assert len(BY_NAME) == len(TABLES)
    assert set(BY_NAME) == tables()


@pytest.mark.django_db
def test_every_column_that_the_registry_names_exists():
    for table in TABLES:
        named = {one.column for one in table.personal}
        if isinstance(table.rule, Deleted):
            named.add(table.rule.counted_from)
        for part in (table.of_organization, table.of_person):
            if isinstance(part, Part):
                named |= set(part.key) | set(part.hidden)
        assert named <= columns(table.name), table.name


@pytest.mark.django_db
def test_tables_of_an_organization_say_so():
    of_organizations = {name for name in tables() if "organization_id" in columns(name)} | {"accounts_organization"}

    assert {table.name for table in TABLES if table.whose is Whose.ORGANIZATION} == of_organizations


PERSONAL_NAMES = re.compile(
    r"(e?mail|user_id|created_by_id|launched_by_id|actor_id|full_name|ip|address|user_agent|browser)$"
)


@pytest.mark.django_db
def test_columns_that_sound_like_a_person_are_registered_as_such():
    found = {
        f"{table.name}.{column}"
        for table in TABLES
        for column in columns(table.name)
        if PERSONAL_NAMES.fullmatch(column) and column not in {one.column for one in table.personal}
    }

    assert not found


@pytest.mark.django_db
def test_whoever_a_table_belongs_to_or_is_about_can_take_it_along_or_reads_why_not():
    of_people = {
        table
        for (table,) in ask(
            "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid = 'accounts_user'::regclass"
        )
    }
    of_people |= {name for name in tables() if columns(name) & {"user_id", "actor_id"}}
    for table in TABLES:
        if table.whose is Whose.ORGANIZATION:
            assert isinstance(table.of_organization, Part | LeftOut), table.name
        if table.whose is Whose.PERSON or table.name in of_people:
            assert isinstance(table.of_person, Part | LeftOut), table.name


def test_the_document_is_what_the_registry_says():
    written = (ROOT / "docs" / "retention.md").read_text()

    assert written == retention_table(), "run: dev/with dev python -m dev.manage retention_table > docs/retention.md"


@pytest.mark.parametrize(
    ("age", "now", "then"),
    [
        (Age(days=90), datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2025, 12, 1, 12, tzinfo=UTC)),
        (Age(months=13), datetime(2026, 11, 25, tzinfo=UTC), datetime(2025, 10, 25, tzinfo=UTC)),
        (Age(months=13), datetime(2026, 1, 31, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)),
        (Age(months=13), datetime(2025, 3, 31, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC)),
        (Age(months=12), datetime(2024, 2, 29, tzinfo=UTC), datetime(2023, 2, 28, tzinfo=UTC)),
    ],
)
@pytest.mark.django_db
def test_an_age_is_counted_as_the_database_counts_it(age, now, then):
    [(counted,)] = ask(
        "SELECT %s::timestamptz - make_interval(months => %s::int, days => %s::int)",
        now.isoformat(),
        str(age.months),
        str(age.days),
    )

    assert age.before(now) == then == counted


# --- What goes -----------------------------------------------------------------------------------


def put_answer(organization: Organization, at: datetime) -> None:
    KeptAnswer.objects.create(
        organization=organization,
        route="POST /api/v1/keys",
        key=uuid4().hex,
        claim=uuid4(),
        body_digest=b"d",
        content_type="",
        body=b"",
        created_at=at,
    )


def put_claim(organization: Organization, at: datetime) -> None:
    IdempotencyClaim.objects.create(
        organization=organization,
        project=organization.projects.in_order()[0],
        idempotency_digest=uuid4().bytes,
        body_digest=b"d",
        request_id="req_1",
        expires_at=at,
    )


def put_origin(organization: Organization, at: datetime) -> None:
    AuditOrigin.objects.create(
        organization=organization, actor_id="user_1", address="192.0.2.7", browser=uuid4().hex, first_seen_at=at
    )


def put_session(organization: Organization, at: datetime) -> None:
    """A session that expired then and was seen the last time; its person is the organization's only member."""
    user = organization.memberships.get().user
    key = uuid4().hex
    Session.objects.create(session_key=key, session_data="", expire_date=at)
    UserSession.objects.create(
        user=user, ip="192.0.2.7", user_agent="x", session_key=key, last_seen_at=at, created_at=at
    )


def put_confirmation(organization: Organization, at: datetime) -> None:
    user = organization.memberships.get().user
    address, _ = EmailAddress.objects.get_or_create(user=user, email=user.email)
    EmailConfirmation.objects.create(email_address=address, created=at, key=uuid4().hex)


def put_staff_entry(organization: Organization, at: datetime) -> None:
    user = organization.memberships.get().user
    entry = LogEntry.objects.create(user=user, object_repr="x", action_flag=1, change_message="")
    LogEntry.objects.filter(pk=entry.pk).update(action_time=at)


def put_fate(organization: Organization, at: datetime) -> None:
    UsageFate.objects.create(
        event_id=uuid4(), organization=organization, occurred_at=at, outcome=UsageFate.Outcome.LATE, recorded_at=at
    )


def put_message(_: Organization, at: datetime) -> None:
    told = message("checkout.session.completed", uuid4().hex)
    StripeEvent.objects.create(
        id=told["id"],
        type=told["type"],
        object_id=told["data"]["object"]["id"],
        api_version=told["api_version"],
        is_live=False,
        created_at=at,
        received_at=at,
        try_at=at,
    )


def put_receipt(organization: Organization, at: datetime) -> None:
    make_receipt(organization, requested_at=at)


def put_former_secret(organization: Organization, at: datetime) -> None:
    key = make_key(organization.projects.in_order()[0]).api_key
    RetiredSecret.objects.create(
        organization=organization,
        api_key=key,
        digest=uuid4().bytes,
        last_four="abcd",
        retired_at=at - timedelta(hours=1),
        valid_until=at,
    )


def put_invitation(organization: Organization, at: datetime) -> None:
    owner = organization.memberships.get().user
    make_invitation(organization, f"{uuid4().hex}@example.com", invited_by=owner, now=at - LIFE)


def put_notice(organization: Organization, at: datetime) -> None:
    Notice.objects.create(
        organization=organization, kind=Notice.Kind.DOMAIN_LOST, subject_id=uuid4().hex, created_at=at
    )


# Table -> how to put a row of an age into an organization with one member.
PUT = {
    "accounts_keptanswer": put_answer,
    "accounts_retiredsecret": put_former_secret,
    "accounts_invitation": put_invitation,
    "accounts_notice": put_notice,
    "inference_idempotencyclaim": put_claim,
    "accounts_auditorigin": put_origin,
    "usersessions_usersession": put_session,
    "django_session": put_session,
    "account_emailconfirmation": put_confirmation,
    "django_admin_log": put_staff_entry,
    "inference_receipt": put_receipt,
    "billing_usagefate": put_fate,
    "billing_stripeevent": put_message,
}
DELETED = {table.name: table.rule for table in TABLES if isinstance(table.rule, Deleted)}


def count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


def peopled_organization() -> Organization:
    return make_organization(owner=make_user())


def test_every_table_with_a_time_is_tried():
    assert set(DELETED) == set(PUT) | {"billing_usageevent"}


@pytest.mark.django_db
@pytest.mark.parametrize("table", PUT)
def test_a_row_is_there_on_its_last_day_and_gone_on_the_next(table):
    organization = peopled_organization()
    then = DELETED[table].after.before(NOW)
    PUT[table](organization, then + HOUR)
    with as_platform():
        assert delete_past(now=NOW)
    assert count(table) == 1

    PUT[table](organization, then - HOUR)
    with as_platform():
        assert delete_past(now=NOW)

    assert count(table) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("table", [table for table, rule in DELETED.items() if table in PUT and not rule.through])
def test_a_day_later_it_is_gone_by_the_clock_alone(table):
    PUT[table](peopled_organization(), DELETED[table].after.before(NOW) + HOUR)

    with as_platform():
        delete_past(now=NOW + timedelta(days=1))

    assert count(table) == 0


@pytest.mark.django_db
@pytest.mark.parametrize("table", [table for table in PUT if DELETED[table].held != "false"])
def test_nothing_of_an_organization_under_a_legal_hold_goes(table):
    held, free = peopled_organization(), peopled_organization()
    Organization.objects.filter(pk=held.pk).update(legal_hold=True)
    for organization in (held, free):
        PUT[table](organization, NOW - timedelta(days=2_000))

    with as_platform():
        delete_past(now=NOW)
        forget_answers(now=NOW)
    assert count(table) == 1

    Organization.objects.update(legal_hold=False)
    with as_platform():
        delete_past(now=NOW)
    assert count(table) == 0


@pytest.mark.django_db
def test_an_origin_stays_while_a_younger_entry_names_it():
    organization = peopled_organization()
    remember_actor(Actor("user", "user_1", "session"))
    remember_origin(Origin("req_12345678", "192.0.2.7", "curl/8"))
    for days in (500, 300):
        record_event(
            "project.renamed", organization_id=organization.pk, target=("project", "p"), now=NOW - timedelta(days=days)
        )
    forget()

    with as_platform():
        delete_past(now=NOW)
    assert AuditOrigin.objects.count() == 1

    with as_platform():
        delete_past(now=NOW + timedelta(days=101))
    assert AuditOrigin.objects.count() == 0
    assert AuditEvent.objects.count() == 2


@pytest.mark.django_db
def test_a_run_is_bounded_and_the_next_one_goes_on():
    organization = peopled_organization()
    for _ in range(7):
        put_answer(organization, NOW - timedelta(days=2))
        put_receipt(organization, NOW - timedelta(days=500))

    with as_platform():
        assert not delete_past(now=NOW, batch=2, most_batches=3)
        assert count("accounts_keptanswer") == 1
        assert not delete_past(now=NOW, batch=2, most_batches=4)
        assert delete_past(now=NOW, batch=2)

    assert count("accounts_keptanswer") == count("inference_receipt") == 0


# --- What no role may delete but the owner's function ----------------------------------------------


@pytest.mark.django_db
def test_receipts_stay_append_only_for_every_role_of_the_portal():
    make_receipt(peopled_organization(), requested_at=NOW - timedelta(days=2_000))

    for role in ("headroom_app", "headroom_platform", "headroom_gateway"):
        with _role(role), pytest.raises(Error, match="permission denied"), transaction.atomic():
            Receipt.objects.all()._raw_delete("default")
    for role in ("headroom_app", "headroom_gateway"):
        for function in ("inference_forget_receipts", "billing_forget_usage"):
            with _role(role), pytest.raises(Error, match="permission denied"), transaction.atomic():
                ask(f"SELECT {function}(1)")


@pytest.mark.django_db
def test_the_owners_function_leaves_the_transactions_organization_as_it_was():
    organization = peopled_organization()
    put_receipt(organization, NOW - timedelta(days=500))
    with as_platform(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.organization_id', '7', true)")
        cursor.execute("SELECT inference_forget_receipts(10), current_setting('app.organization_id')")
        assert cursor.fetchone() == (1, "7")


def put_event(organization: Organization, at: datetime) -> None:
    UsageEvent.objects.create(
        event_id=uuid4(),
        occurred_at=at,
        organization=organization,
        project=organization.projects.in_order()[0],
        sku="model.demo.input",
        quantity=1,
        resource_id="demo",
        request_id="",
        recorded_at=at,
    )


def partitions() -> set[str]:
    return {name for (name,) in ask("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")}


@pytest.mark.django_db
def test_a_day_of_usage_is_dropped_once_all_of_it_is_13_months_old():
    organization = peopled_organization()
    edge = DELETED["billing_usageevent"].after.before(NOW)
    with as_platform():
        make_partitions(first=edge.date() - timedelta(days=2), day_count=3)
    for days in (2, 1, 0):
        put_event(organization, (edge - timedelta(days=days)).replace(hour=0, minute=30))
    # Without a partition of its own.
    put_event(organization, edge - timedelta(days=40))

    with as_platform():
        assert delete_past(now=NOW)

    assert [event.occurred_at.date() for event in UsageEvent.objects.all()] == [edge.date()]
    old = {name for name in partitions() if name < f"billing_usageevent_{edge:%Y%m%d}" and "default" not in name}
    assert not old


@pytest.mark.django_db
def test_a_day_of_usage_loses_all_but_what_a_legal_hold_keeps():
    held, free = peopled_organization(), peopled_organization()
    Organization.objects.filter(pk=held.pk).update(legal_hold=True)
    day = NOW - timedelta(days=500)
    with as_platform():
        make_partitions(first=day.date(), day_count=1)
    for organization in (held, free, free, free):
        put_event(organization, day)
        put_event(organization, day - timedelta(days=40))

    with as_platform():
        assert delete_past(now=NOW, batch=2)

    assert {event.organization_id for event in UsageEvent.objects.all()} == {held.pk}
    assert UsageEvent.objects.count() == 2
    Organization.objects.update(legal_hold=False)
    with as_platform():
        assert delete_past(now=NOW)
    assert UsageEvent.objects.count() == 0


@pytest.mark.django_db
def test_a_stranger_to_a_held_organization_is_not_held():
    held = peopled_organization()
    Organization.objects.filter(pk=held.pk).update(legal_hold=True)
    free = peopled_organization()
    both = make_membership(make_organization(), free.memberships.get().user)
    put_session(free, NOW - timedelta(days=200))
    make_membership(held, both.user)

    with as_platform():
        delete_past(now=NOW)

    assert UserSession.objects.count() == 1
    held.memberships.filter(user=both.user).delete()
    with as_platform():
        delete_past(now=NOW)
    assert UserSession.objects.count() == 0
