import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory
from django.urls import reverse

from portal import views
from tests.factories.accounts import make_organization, make_user


@pytest.mark.django_db
def test_the_home_page_invites_visitors(client: Client):
    page = client.get("/").content.decode()

    assert "Start with $5.00 of credit" in page
    assert reverse("account_signup") in page


@pytest.mark.django_db
def test_the_home_page_leads_people_into_the_console(client: Client):
    client.force_login(make_user())

    page = client.get("/").content.decode()

    assert "Open the console" in page
    assert "Start with" not in page


@pytest.mark.django_db
def test_an_unknown_address_answers_404_in_the_shell(client: Client):
    response = client.get("/no/such/page/")

    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


@pytest.mark.django_db
def test_an_unknown_address_of_the_api_is_a_problem_that_programs_read(client: Client):
    response = client.get("/api/v1/nothing")

    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["code"] == "object_does_not_exist"
    assert response.json()["request_id"] == response["x-request-id"]


@pytest.mark.django_db
def test_an_unknown_address_still_shows_whose_organizations_they_are(client: Client):
    client.force_login(user := make_user())
    make_organization("Lighthouse Labs", owner=user)

    assert "Lighthouse Labs" in client.get("/no/such/page/").content.decode()


@pytest.mark.django_db
def test_a_form_without_its_token_says_what_to_do():
    response = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "alice@example.com"})

    assert response.status_code == 403
    assert "reload the page" in response.content.decode()


def test_a_failure_is_told_without_asking_the_database(rf: RequestFactory):
    response = views.server_error(rf.get("/"))

    assert response.status_code == 500
    assert "Something broke on our side" in response.content.decode()


def test_a_lost_database_is_an_outage_with_a_time_to_wait(rf: RequestFactory):
    try:
        raise OperationalError("connection refused")
    except OperationalError:
        response = views.server_error(rf.get("/"))

    assert response.status_code == 503
    assert response["Retry-After"] == "30"


@pytest.mark.django_db
def test_says_whom_to_tell_about_a_weakness(client: Client):
    text = client.get("/.well-known/security.txt").content.decode()

    assert "Contact: mailto:security@" in text
    assert "Expires: " in text


@pytest.mark.django_db
def test_keeps_robots_out_of_organizations(client: Client):
    assert "Disallow: /o/" in client.get("/robots.txt").content.decode()


@pytest.fixture
def mail_dir(settings, tmp_path):
    settings.MAIL_DIR = tmp_path / "mail"
    settings.MAIL_DIR.mkdir()
    return settings.MAIL_DIR


def write(folder, name: str, subject: str, text: str = "Your code is 123456.") -> None:
    message = f"Subject: {subject}\nTo: alice@example.com\nDate: Sun, 22 Nov 2026 03:00:00 -0000\n\n{text}\n"
    (folder / name).write_text(message + "-" * 79 + "\n")


@pytest.mark.django_db
def test_development_mail_lists_what_was_sent(client: Client, mail_dir):
    write(mail_dir, "20261122-030000-1.log", "Your code")

    page = client.get("/dev/mail/").content.decode()

    assert "Your code is 123456." in page
    assert client.get("/dev/mail/20261122-030000-1.log").status_code == 200


@pytest.mark.django_db
def test_development_mail_escapes_what_was_sent(client: Client, mail_dir):
    write(mail_dir, "a.log", "<b>hello</b>", "<script>alert(1)</script>")

    page = client.get("/dev/mail/").content.decode()

    assert "<b>hello" not in page
    assert "<script>alert" not in page


@pytest.mark.django_db
def test_a_component_escapes_its_attributes_once(client: Client, mail_dir):
    write(mail_dir, "a.log", "<b>R&D</b>")

    page = client.get("/dev/mail/a.log").content.decode()

    assert "<h1>&lt;b&gt;R&amp;D&lt;/b&gt;</h1>" in page


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["..%2Fsecret.log", "secret.txt", "link.log", "folder.log", "none.log"])
def test_development_mail_shows_only_files_directly_in_its_folder(client: Client, mail_dir, name):
    write(mail_dir.parent, "secret.log", "Secret")
    write(mail_dir, "secret.txt", "Secret")
    (mail_dir / "link.log").symlink_to(mail_dir.parent / "secret.log")
    (mail_dir / "folder.log").mkdir()

    assert client.get(f"/dev/mail/{name}").status_code == 404


@pytest.mark.django_db
def test_staff_sign_in_where_guesses_are_counted_and_second_factors_asked(client):
    answer = client.get("/admin/login/?next=/admin/")
    guess = client.post("/admin/login/", {"username": "someone@example.com", "password": "a guess of twelve"})

    assert answer.status_code == guess.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")
    assert guess["Location"].startswith("/accounts/login/")
