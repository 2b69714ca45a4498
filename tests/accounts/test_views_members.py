"""Pages of members and invitations, as people go through them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Invitation, Membership, Organization, Role, User
from accounts.services.invitations import mail_invitation
from tests.factories.accounts import make_invitation, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
EARLIER = NOW - timedelta(hours=1)


@pytest.fixture
def organization() -> Organization:
    return make_organization("Lighthouse Labs", owner=make_user("olga@lighthouse.example"))


@pytest.fixture
def owner(organization: Organization) -> Membership:
    return organization.memberships.get()


def sign_in(client: Client, user: User, *, at: datetime | None = None) -> Client:
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = (at or datetime.now(UTC)).timestamp()
    session.save()
    return client


def make_person(email: str) -> User:
    user = make_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def address(name: str, organization: Organization, *args: str) -> str:
    return reverse(f"accounts:{name}", args=[organization.slug, *args])


def said(answer: Any) -> list[str]:
    """What the page that the answer leads to says at the top."""
    return [str(message) for message in answer.context["messages"]]


def code_in(message: Any) -> str:
    [code] = re.findall(r"\b\d{6}\b", message.body)
    return str(code)


def link_in(message: Any) -> str:
    [link] = re.findall(r"http\S+(/invitations/\S+/)", message.body)
    return str(link)


def invited_by_form(client: Client, organization: Organization, email: str, **more: str) -> Any:
    form = {"email": email, "role": "developer", "project": "", **more}
    return client.post(address("member-invite", organization), form, follow=True)


# --- Inviting and joining --------------------------------------------------------------------------


def test_a_newcomer_is_invited_signs_up_comes_back_and_joins(
    client: Client, organization: Organization, owner: Membership
):
    project = organization.projects.get()
    answer = invited_by_form(sign_in(client, owner.user), organization, "ada@acme.com", project=project.public_id)
    assert said(answer) == ["ada@acme.com gets a mail with a link to join."]
    assert "ada@acme.com" in answer.content.decode()
    mail_invitation(invitation_id=Invitation.objects.get().pk, now=datetime.now(UTC))
    link = link_in(mail.outbox[-1])

    newcomer = Client()
    answer = newcomer.get(link)
    assert answer["Location"] == f"{reverse('account_login')}?next={link}"
    sign_in_page = newcomer.get(answer["Location"]).content.decode()
    [sign_up] = set(re.findall(rf'href="({reverse("account_signup")}\?next=[^"]*)"', sign_in_page))
    form = newcomer.get(sign_up).content.decode()
    assert f'name="next" value="{link}"' in form
    newcomer.post(reverse("account_signup"), {"email": "Ada@Acme.com", "next": link})
    confirmed = newcomer.post(reverse("account_email_verification_sent"), {"code": code_in(mail.outbox[-1])})
    assert confirmed["Location"] == link
    page = newcomer.get(link).content.decode()
    for words in ("Join Lighthouse Labs", "Developer", "Default", "olga@lighthouse.example"):
        assert words in page
    joined = newcomer.post(link, follow=True)

    assert joined.redirect_chain[0][0].startswith(f"/o/{organization.slug}/")
    assert said(joined) == ["You are a member of Lighthouse Labs now."]
    # Nobody made them an organization that they did not ask for.
    assert [one.organization for one in Membership.objects.filter(user__email__iexact="ada@acme.com")] == [organization]
    again = newcomer.get(link)
    assert again.status_code == 200
    assert "This invitation was used already." in again.content.decode()
    refused = newcomer.post(link)
    assert refused.status_code == 422
    assert "This invitation was used already." in refused.content.decode()


def test_who_has_an_account_signs_in_and_comes_back(client: Client, organization: Organization, owner: Membership):
    bob = make_person("bob@example.com")
    make_membership(make_organization(), bob)
    _, token = make_invitation(organization, "bob@example.com", invited_by=owner.user, now=NOW)
    link = reverse("accounts:invitation", args=[token])

    asked = client.post(reverse("account_login"), {"login": "bob@example.com", "password": "", "next": link})
    assert f'name="next" value="{link}"' in client.get(asked["Location"]).content.decode()
    code = code_in(mail.outbox[-1])
    answer = client.post(reverse("account_confirm_login_code"), {"code": code, "next": link})
    assert answer["Location"] == link
    client.post(link)

    assert Membership.objects.filter(user=bob).count() == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expires_at": NOW}, "This invitation has expired. Ask for a new one."),
        ({"revoked_at": NOW}, "This invitation was revoked. Ask for a new one."),
    ],
)
def test_an_invitation_that_ended_says_why(
    client: Client, organization: Organization, owner: Membership, change: dict[str, datetime], words: str
):
    ada = make_person("ada@example.com")
    invitation, token = make_invitation(organization, ada.email, invited_by=owner.user, now=NOW)
    Invitation.objects.filter(pk=invitation.pk).update(**change)
    link = reverse("accounts:invitation", args=[token])
    sign_in(client, ada)

    page, refused = client.get(link), client.post(link)

    assert (page.status_code, refused.status_code) == (200, 422)
    for answer in (page, refused):
        assert words in answer.content.decode()
        assert "Join</button>" not in answer.content.decode()
    assert not Membership.objects.filter(user=ada).exists()


@pytest.mark.asvs("8.2.2")
def test_another_person_is_told_which_address_they_use_and_nothing_of_the_organization(
    client: Client, organization: Organization, owner: Membership
):
    _, token = make_invitation(organization, "ada@example.com", invited_by=owner.user, now=NOW)
    link = reverse("accounts:invitation", args=[token])
    sign_in(client, make_person("eve@example.com"))

    for answer in (client.get(link), client.post(link)):
        assert answer.status_code == 404
        page = answer.content.decode()
        assert "eve@example.com" in page
        assert "Lighthouse" not in page
        assert "ada@example.com" not in page
        assert f"{reverse('account_logout')}?next={link}" in page


def test_a_token_is_in_no_log(client: Client, organization: Organization, owner: Membership, caplog: Any):
    ada = make_person("ada@example.com")
    _, token = make_invitation(organization, ada.email, invited_by=owner.user, now=NOW)
    link = reverse("accounts:invitation", args=[token])

    client.get(link)
    sign_in(client, ada).get(link)
    client.post(link)
    sign_in(client, make_person("eve@example.com")).get(link)
    client.put(link)

    assert "/invitations/…/" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"email": "nobody"}, "valid email"),
        ({"email": ""}, "required"),
        ({"email": "a@b.example\nBcc: c@d.example"}, "valid email"),
        ({"email": "olga@lighthouse.example"}, "is a member already"),
        ({"role": "king"}, "not one of the available choices"),
        ({"project": "proj_missing"}, "not one of the available choices"),
    ],
)
def test_refuses_a_bad_form_and_invites_nobody(
    client: Client, organization: Organization, owner: Membership, change: dict[str, str], words: str
):
    sign_in(client, owner.user)

    answer = invited_by_form(client, organization, change.pop("email", "ada@example.com"), **change)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Invitation.objects.exists()


def test_an_admin_is_offered_no_owner(client: Client, organization: Organization):
    admin = make_membership(organization, role=Role.ADMIN)
    sign_in(client, admin.user)

    assert 'value="owner"' not in client.get(address("member-invite", organization)).content.decode()
    assert invited_by_form(client, organization, "ada@example.com", role="owner").status_code == 422
    assert not Invitation.objects.exists()


def test_sends_again_and_revokes_from_the_list(client: Client, organization: Organization, owner: Membership):
    invitation, _ = make_invitation(
        organization, "ada@example.com", invited_by=owner.user, now=NOW - timedelta(hours=1)
    )
    sign_in(client, owner.user)
    page = client.get(address("member-list", organization)).content.decode()
    resend = address("invitation-resend", organization, invitation.public_id)
    revoke = address("invitation-revoke", organization, invitation.public_id)
    assert resend in page
    assert revoke in page

    assert said(client.post(resend, follow=True)) == ["ada@example.com gets a new link; it ends the old one."]
    assert said(client.post(resend, follow=True)) == ["It was sent less than a minute ago: wait for that mail first."]
    answer = client.post(revoke, follow=True)
    assert said(answer) == ["The invitation of ada@example.com is revoked."]
    assert revoke not in answer.content.decode()
    assert said(client.post(revoke, follow=True)) == ["It was revoked already."]


# --- Members -------------------------------------------------------------------------------------


def test_changes_a_role_and_the_next_request_feels_it(client: Client, organization: Organization, owner: Membership):
    member = make_membership(organization, role=Role.ADMIN)
    theirs = sign_in(Client(), member.user)
    assert theirs.get(address("member-invite", organization)).status_code == 200

    answer = sign_in(client, owner.user).post(
        address("member-role", organization, member.public_id), {"role": "viewer"}, follow=True
    )

    assert said(answer) == [f"{member.user.email} is Viewer now."]
    assert theirs.get(address("member-invite", organization)).status_code == 403
    assert theirs.post(address("member-invite", organization), {"email": "a@example.com"}).status_code == 403
    assert theirs.get(address("member-list", organization)).status_code == 200


def test_removes_a_member_and_the_next_request_finds_nothing(
    client: Client, organization: Organization, owner: Membership
):
    member = make_membership(organization, role=Role.ADMIN)
    theirs = sign_in(Client(), member.user)
    remove = address("member-remove", organization, member.public_id)
    sign_in(client, owner.user)
    assert remove in client.get(address("member-list", organization)).content.decode()
    assert member.user.email in client.get(remove).content.decode()
    assert theirs.get(address("member-list", organization)).status_code == 200

    answer = client.post(remove, follow=True)

    assert said(answer) == [f"{member.user.email} is no longer a member."]
    assert theirs.get(address("member-list", organization)).status_code == 404
    assert theirs.post(address("member-role", organization, owner.public_id), {"role": "viewer"}).status_code == 404


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("member-role", {"role": "admin"}, "An organization needs an owner: make somebody else an owner first."),
        ("member-role", {"role": "king"}, "There is no such role."),
        ("member-remove", {}, "To go yourself, leave the organization."),
    ],
)
def test_says_why_the_only_owner_stays(client: Client, owner: Membership, name: str, data: dict[str, str], words: str):
    sign_in(client, owner.user)

    answer = client.post(address(name, owner.organization, owner.public_id), data, follow=True)

    assert said(answer) == [words]
    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_leaves_unless_nobody_would_own_it(client: Client, organization: Organization, owner: Membership):
    sign_in(client, owner.user)
    leave = address("member-leave", organization)
    assert "You are the only owner" in client.get(leave).content.decode()
    assert said(client.post(leave, follow=True)) == ["You are the only owner: make somebody else an owner first."]
    make_membership(organization)

    answer = client.post(leave, follow=True)

    assert answer.redirect_chain == [(reverse("accounts:organization-list"), 302)]
    assert said(answer) == ["You have left Lighthouse Labs."]
    assert client.get(leave).status_code == 404


def test_transfers_ownership(client: Client, organization: Organization, owner: Membership):
    sign_in(client, owner.user)
    transfer = address("ownership-transfer", organization)
    assert "nobody else here yet" in client.get(transfer).content.decode()
    heir = make_membership(organization, role=Role.DEVELOPER)
    outsider = make_membership(make_organization())
    assert client.post(transfer, {"member": outsider.public_id}).status_code == 422

    answer = client.post(transfer, {"member": heir.public_id}, follow=True)

    assert said(answer) == [f"{heir.user.email} is the owner now, and you are an admin."]
    assert client.get(transfer).status_code == 403


@pytest.mark.asvs("7.5.1")
@pytest.mark.parametrize("name", ["member-invite", "member-role", "ownership-transfer", "invitation-resend"])
def test_what_gives_power_asks_again_who_one_is(
    client: Client, organization: Organization, owner: Membership, name: str
):
    member = make_membership(organization, role=Role.DEVELOPER)
    invitation, _ = make_invitation(
        organization, "bob@example.com", invited_by=owner.user, now=NOW - timedelta(hours=1)
    )
    args = {"member-role": [member.public_id], "invitation-resend": [invitation.public_id]}.get(name, [])
    form = {"email": "ada@example.com", "role": "admin", "project": "", "member": member.public_id}
    sign_in(client, owner.user, at=EARLIER)

    answer = client.post(address(name, organization, *args), form)

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("accounts:reauthenticate-by-code"))
    assert Invitation.objects.get() == invitation
    assert Membership.objects.get(pk=member.pk).role == Role.DEVELOPER


def test_what_ends_access_does_not_wait_for_a_proof(client: Client, organization: Organization, owner: Membership):
    member = make_membership(organization)
    invitation, _ = make_invitation(organization, "bob@example.com", invited_by=owner.user, now=NOW)
    sign_in(client, owner.user, at=EARLIER)

    client.post(address("invitation-revoke", organization, invitation.public_id))
    client.post(address("member-remove", organization, member.public_id))

    assert not Invitation.objects.pending().exists()
    assert Membership.objects.owned_by(organization).count() == 1


def test_a_viewer_sees_members_and_no_way_to_change_them(client: Client, organization: Organization, owner: Membership):
    viewer = make_membership(organization, role=Role.VIEWER)
    invitation, _ = make_invitation(organization, "bob@example.com", invited_by=owner.user, now=NOW)

    page = sign_in(client, viewer.user).get(address("member-list", organization)).content.decode()

    assert owner.user.email in page
    assert invitation.email not in page
    for hidden in ("member-invite", "ownership-transfer"):
        assert address(hidden, organization) not in page
    assert "/role/" not in page
    assert "/remove/" not in page
    assert address("member-leave", organization) in page


def test_an_admin_cannot_touch_owners_from_the_list(client: Client, organization: Organization, owner: Membership):
    admin = make_membership(organization, role=Role.ADMIN)
    sign_in(client, admin.user)

    page = client.get(address("member-list", organization)).content.decode()

    assert address("member-role", organization, owner.public_id) not in page
    assert address("member-remove", organization, owner.public_id) not in page
    assert address("member-role", organization, admin.public_id) in page
    for name, data in [("member-role", {"role": "viewer"}), ("member-remove", {})]:
        [words] = said(client.post(address(name, organization, owner.public_id), data, follow=True))
        assert words.startswith("Only an owner can")
    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_a_long_list_costs_as_many_queries_as_a_short_one_and_is_turned(
    client: Client, organization: Organization, owner: Membership
):
    sign_in(client, owner.user)
    list_url = address("member-list", organization)
    make_invitation(organization, "first@example.com", invited_by=owner.user, now=NOW)
    client.get(list_url)
    with CaptureQueriesContext(connection) as short:
        client.get(list_url)
    members = [owner, *(make_membership(organization, role=Role.VIEWER) for _ in range(60))]
    for number in range(20):
        make_invitation(organization, f"invited{number}@example.com", invited_by=owner.user, now=NOW)

    with CaptureQueriesContext(connection) as full:
        first = client.get(list_url)
    second = client.get(list_url, {"after": first.context["page"].next_after})

    assert len(full) == len(short)
    rows = [row.public_id for answer in (first, second) for row in answer.context["page"].rows]
    assert rows == [member.public_id for member in members]
    assert second.context["page"].next_after == ""


def test_an_invitation_ends_after_a_week(client: Client, organization: Organization, owner: Membership):
    ada = make_person("ada@example.com")
    _, token = make_invitation(organization, ada.email, invited_by=owner.user, now=NOW)
    link = reverse("accounts:invitation", args=[token])

    with time_machine.travel(NOW + timedelta(days=7, seconds=-1), tick=False):
        assert "Join</button>" in sign_in(client, ada).get(link).content.decode()
    with time_machine.travel(NOW + timedelta(days=7), tick=False):
        assert "has expired" in client.get(link).content.decode()
