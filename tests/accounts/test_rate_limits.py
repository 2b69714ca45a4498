"""Who may say how fast models are called, over what, and what holds where nobody did."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.models import ApiKey, AuditEvent, Membership, Project, RateLimit, Rates, Role
from accounts.selectors.rate_limits import RatesInForce, limits_over_key, rates_in_console, rates_of_limits
from accounts.services.rate_limits import RateTarget, UnableToSetRates, set_rates, set_rates_of_organization
from accounts.services.staff import StaffGroup
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_key, make_membership, make_organization, make_project

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
STAFF_PAGE = "/admin/accounts/ratelimit/"


@pytest.fixture
def project() -> Project:
    return make_project(make_organization(name="Acme"), "Vision")


@pytest.fixture
def owner(project: Project) -> Membership:
    return make_membership(project.organization)


@pytest.fixture
def browser(client: Client, owner: Membership) -> Client:
    client.force_login(owner.user)
    return client


def address(project: Project, rest: str = "") -> str:
    return f"/o/{project.organization.slug}/rate-limits/{rest}"


def rates_over(key: ApiKey) -> RatesInForce:
    [limits] = ApiKey.objects.filter(pk=key.pk).values_list(limits_over_key(), flat=True)
    return rates_of_limits(limits)


def newest_entry(project: Project) -> AuditEvent:
    return AuditEvent.objects.owned_by(project.organization).order_by("sequence").last()  # type: ignore[return-value]  # one is there


def test_where_nobody_said_anything_what_is_for_everybody_holds(project: Project):
    key = make_key(project, now=NOW).api_key

    rates = rates_over(key)

    assert rates == rates_in_console(organization_id=project.organization_id, project_id=project.pk)
    assert rates.key == Rates(6_000, 4_000_000, 500)
    assert rates.project == Rates()
    assert rates.organization == Rates(30_000, 20_000_000, 2_000)


def test_a_key_and_its_project_are_limited_and_gateways_look_again(browser: Client, project: Project):
    key = make_key(project, now=NOW).api_key
    other = make_key(make_project(project.organization, "Other"), now=NOW).api_key

    for rest, rates in (
        (f"keys/{key.public_id}/", ("60", "", "2")),
        (f"projects/{project.public_id}/", ("", "900", "")),
    ):
        typed = dict(zip(("requests_per_minute", "tokens_per_minute", "concurrent_requests"), rates, strict=True))
        assert browser.post(address(project, rest), typed).status_code == 302

    rates_now = rates_over(key)
    assert rates_now.key == Rates(60, 4_000_000, 2)
    assert rates_now.project == Rates(None, 900, None)
    assert ApiKey.objects.get(pk=key.pk).changed_at > key.changed_at
    assert ApiKey.objects.get(pk=other.pk).changed_at == other.changed_at
    page = browser.get(address(project)).content.decode()
    assert all(text in page for text in ("API key", "Project Vision", "60", "900", "30,000"))
    assert (
        "60 requests and 4,000,000 tokens"
        in browser.get(f"/o/{project.organization.slug}/keys/{key.public_id}/").content.decode()
    )
    entry = newest_entry(project)
    assert (entry.action, entry.target_id) == ("rate_limit.changed", project.public_id)
    assert json.loads(entry.changes) == {"tokens_per_minute": [None, 900]}


def test_an_empty_form_takes_the_limits_away(browser: Client, project: Project):
    set_rates(target=RateTarget(project.organization, project=project), rates=Rates(5), now=NOW)

    browser.post(address(project, f"projects/{project.public_id}/"), {})

    assert not RateLimit.objects.exists()
    assert json.loads(newest_entry(project).changes) == {"requests_per_minute": [5, None]}


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many", "1000000001"])
def test_what_is_no_rate_is_refused_and_changes_nothing(browser: Client, project: Project, typed: str):
    entries = AuditEvent.objects.count()

    answer = browser.post(address(project, f"projects/{project.public_id}/"), {"requests_per_minute": typed})

    assert answer.status_code == 422
    assert not RateLimit.objects.exists()
    assert AuditEvent.objects.count() == entries


def test_the_service_refuses_what_is_no_rate(project: Project):
    with pytest.raises(UnableToSetRates, match="whole number"):
        set_rates(target=RateTarget(project.organization, project=project), rates=Rates(0), now=NOW)


def test_setting_what_holds_leaves_no_entry(project: Project):
    target = RateTarget(project.organization, project=project)
    set_rates(target=target, rates=Rates(5), now=NOW)
    entries = AuditEvent.objects.count()

    set_rates(target=target, rates=Rates(5), now=NOW)

    assert AuditEvent.objects.count() == entries


def test_a_developer_limits_keys_and_not_projects(client: Client, project: Project):
    client.force_login(make_membership(project.organization, role=Role.DEVELOPER).user)
    key = make_key(project, now=NOW).api_key

    assert client.post(address(project, f"keys/{key.public_id}/"), {"concurrent_requests": "1"}).status_code == 302
    assert client.get(address(project, f"projects/{project.public_id}/")).status_code == 403


# --- Staff ---------------------------------------------------------------------------------------------


def test_staff_give_an_organization_other_rates_and_it_reads_so_in_its_log(project: Project):
    staff = make_staff(StaffGroup.CAPACITY)
    client = browser_of(staff)

    page = client.post(
        STAFF_PAGE, {"organization": project.organization.slug, "requests_per_minute": "90000"}, follow=True
    ).content.decode()

    assert "90,000" in page
    assert "20,000,000" in page
    rates = rates_in_console(organization_id=project.organization_id, project_id=project.pk)
    assert rates.organization == Rates(90_000, 20_000_000, 2_000)
    entry = newest_entry(project)
    assert (entry.action, entry.actor_id, entry.via) == ("rate_limit.changed", staff.public_id, "staff")


@pytest.mark.parametrize("group", [StaffGroup.SUPPORT, StaffGroup.FINANCE])
def test_other_staff_change_none(project: Project, group: StaffGroup):
    staff = make_staff(group)

    answer = browser_of(staff).post(STAFF_PAGE, {"organization": project.organization.slug})

    assert answer.status_code == 403
    with as_platform(), pytest.raises(UnableToSetRates, match="may not"):
        set_rates_of_organization(organization=project.organization, rates=Rates(1), by=staff, now=NOW)


def test_staff_hear_of_an_address_that_nobody_has(project: Project):
    answer = browser_of(make_staff(StaffGroup.SALES)).post(STAFF_PAGE, {"organization": "nobody"})

    assert answer.status_code == 422
    assert "no organization with this address" in answer.content.decode()


def test_rates_of_a_neighbour_hold_for_nobody_here_and_change_with_nothing_of_ours():
    neighbours, ours = make_project(make_organization("Neighbour")), make_project(make_organization("Ours"))
    theirs, key = make_key(neighbours, now=NOW).api_key, make_key(ours, now=NOW).api_key
    staff, organization = make_staff(StaffGroup.CAPACITY), ours.organization
    with as_platform():
        set_rates_of_organization(organization=neighbours.organization, rates=Rates(7), by=staff, now=NOW)
        before = ApiKey.objects.get(pk=theirs.pk).changed_at

        assert rates_over(key).organization.requests_per_minute == 30_000
        assert rates_in_console(organization_id=organization.pk, project_id=ours.pk) == rates_over(key)
        set_rates_of_organization(organization=organization, rates=Rates(9), by=staff, now=NOW + timedelta(hours=1))
        assert rates_over(key).organization.requests_per_minute == 9
        set_rates_of_organization(organization=organization, rates=Rates(), by=staff, now=NOW + timedelta(hours=2))

        assert rates_over(theirs).organization.requests_per_minute == 7
        assert ApiKey.objects.get(pk=theirs.pk).changed_at == before
