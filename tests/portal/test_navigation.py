import pytest
from django.urls import NoReverseMatch, reverse

from accounts.models import Role
from portal import navigation
from portal.navigation import Entry, Group, links_for
from tests.factories.accounts import make_membership, make_organization

GROUPS = (*navigation.ORGANIZATION, *navigation.PERSONAL, *navigation.PUBLIC)
ENTRIES = [entry for group in GROUPS for entry in group.entries]
# Pages that are still being built; take a name out when its page lands.
AWAITED = {"inference:receipt-list"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.url_name)
def test_every_entry_leads_somewhere(entry):
    try:
        reverse(entry.url_name, args=["acme"] if entry.of_organization else [])
    except NoReverseMatch:
        assert entry.url_name in AWAITED


@pytest.mark.django_db
def test_leaves_out_pages_that_do_not_exist_and_groups_without_any():
    groups = (Group("Models", (Entry("No such page", "box", "no-such-page"),)), Group("", (HOME,)))

    links = links_for(groups, make_membership(make_organization()), "/")

    assert [[link.label for link in group.links] for group in links] == [["Home"]]


@pytest.mark.django_db
def test_leaves_out_pages_that_the_role_may_not_use():
    membership = make_membership(make_organization(), role=Role.BILLING)

    labels = [link.label for group in links_for(navigation.ORGANIZATION, membership, "/") for link in group.links]

    assert "Launch" not in labels
    assert "API keys" in labels


HOME = Entry("Home", "house", "home", of_organization=False)


def current(path: str) -> dict[str, str]:
    return {link.label: link.current for group in links_for(navigation.PUBLIC, None, path) for link in group.links}


def test_marks_the_page_itself_and_the_section_of_a_page_below():
    assert current("/models/") == {**current("/"), "Models": "page"}
    assert current("/models/gpt-oss-120b/") == {**current("/"), "Models": "true"}
    assert set(current("/").values()) == {""}
