"""What must work where scripts are off or did not arrive: sign in, revoke a key (U9).

Launching and stopping are in tests/compute/test_without_javascript.py.
"""

import re

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from playwright.sync_api import expect

from accounts.models import ApiKey
from tests.factories.accounts import make_key, make_organization, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db]


def test_signs_in_with_a_mailed_code(browser):
    user = make_user()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    make_organization("Lighthouse Labs", owner=user)
    page = browser.open("/accounts/login/", javascript=False)
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()

    page.get_by_label("E-mail address").fill(user.email)
    page.get_by_role("button", name="Sign in", exact=True).click()
    code = re.search(r"^\s*(\S{6,9})\s*$", str(mail.outbox[-1].body), re.MULTILINE)
    assert code is not None
    page.get_by_label("Code").fill(code[1])
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_revokes_a_key(browser):
    organization = make_organization(owner=(owner := make_user()))
    project = organization.projects.first()
    assert project is not None
    key = make_key(project).api_key
    page = browser.open(f"/o/{organization.slug}/keys/", user=owner, javascript=False)

    page.get_by_role("link", name=re.compile("Revoke")).first.click()
    page.get_by_role("button", name=re.compile("Revoke")).click()

    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
