"""Signing in by password or, with the field left empty, by a code."""

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from tests.factories.accounts import make_organization, make_user

PASSWORD = "a long enough phrase"


@pytest.fixture
def person(db):
    user = make_user("dana@example.com", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    make_organization(owner=user)
    return user


def test_a_password_opens_the_door(person):
    client = Client()

    answer = client.post("/accounts/login/", {"login": person.email, "password": PASSWORD})

    assert answer.status_code == 302
    assert client.session["_auth_user_id"] == str(person.pk)
    assert mail.outbox == []


def test_an_empty_password_mails_a_code(person):
    client = Client()

    answer = client.post("/accounts/login/", {"login": person.email, "password": ""})

    assert answer["Location"] == "/accounts/login/code/confirm/"
    assert len(mail.outbox) == 1
    assert "_auth_user_id" not in client.session


def test_a_wrong_password_opens_nothing_and_mails_nothing(person):
    client = Client()

    answer = client.post("/accounts/login/", {"login": person.email, "password": "not the phrase"})

    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session
    assert mail.outbox == []
