"""A word in every text of each organization, and nobody of the other reads it anywhere (security T3).

Both are asked for the same, one after the other, so that what was made for one and kept is not shown to the other.
`make test` looks at every page once and whole, `make prove` in every state, as htmx asks for it, and at public pages.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.test import Client, TestCase
from django.test.signals import template_rendered

from accounts import tasks
from accounts.models import AuditEndpoint, Domain, Invitation, Notice, Role, Scope
from accounts.services.closing import GRACE, close_due_organizations, keep_organization, request_deletion
from accounts.services.erasure import erase_person
from accounts.services.invitations import mail_invitation
from billing.models import (
    AnomalyMails,
    CapWarning,
    Dispute,
    Payment,
    PaymentMethod,
    PriceNotice,
    Refund,
    SpendAnomaly,
)
from billing.services.anomalies import mail_anomalies
from billing.services.cap_warnings import mail_warnings
from billing.services.disputes import mail_disputes
from billing.services.invoice_mails import mail_invoices
from billing.services.payments import mail_payments
from billing.services.price_notices import mail_price_notices
from billing.services.refunding import mail_refunds
from billing.services.standing_mails import mail_letters
from billing.services.transfers import mail_transfers
from catalog.models import Price
from dev.paths import ROOT
from portal.lib.tenancy import as_platform
from tests.canaries import KEPT, WRITTEN, Aviary, Side, make_aviary, text_of, words_in
from tests.factories.billing import make_payment
from tests.policy import Audience
from tests.routes import ROUTES
from tests.support import undone
from tests.tenancy_questions import NARROWED
from tests.visits import STEPS, Visit, signed_in, visits
from tests.world import NOW, World

PROVE = bool(os.environ.get("PROVE"))
PROGRAMS = [route for route in ROUTES if route.is_of_programs and isinstance(route.rule.who, Scope)]
PROGRAMS += [route for route in ROUTES if route.is_of_programs and route.rule.who in (Audience.KEY, Audience.DIRECTORY)]
# What answers and shows nothing that somebody of the organization wrote.
SILENT = {
    "compute:instance-status": "states, by public id",
    "compute:api-instance-type-list": "the price list",
    "compute:api-image-list": "the price list",
    "billing:api-key": "numbers",
    "billing:api-cap-list": "numbers",
    "billing:api-key-cap": "numbers",
    "billing:api-invoice-list": "numbers",
    "billing:invoice-pdf": "its text is compressed; the page says the same and is searched",
    "accounts:scim-config": "what the protocol can do",
    "accounts:scim-schema-list": "what the protocol can do",
    "accounts:scim-resource-type-list": "what the protocol can do",
}
# Columns that their own people read nowhere.
UNREAD = {
    "accounts_keptanswer.content_type": "only who asked gets the answer again",
    "accounts_keptanswer.key": "only who asked gets the answer again",
    "accounts_keptanswer.route": "only who asked gets the answer again",
    "billing_banktransfer.disputed_because": "between two members of staff",
    "compute_instance.request_digest": "compared with that of a repetition",
}


@pytest.fixture(scope="module")
def aviary_of_module(world_of_module: World, django_db_blocker: Any) -> Iterator[Aviary]:
    with django_db_blocker.unblock(), undone():
        yield make_aviary(world_of_module)


@pytest.fixture
def aviary(aviary_of_module: Aviary, django_db_blocker: Any) -> Iterator[Aviary]:
    with django_db_blocker.unblock(), undone():
        aviary_of_module.forget()
        yield aviary_of_module


def test_every_text_of_both_holds_its_word(aviary: Aviary):
    without = {
        f"{column} of {side.word}"
        for column in aviary.columns
        if not column.why_kept
        for side in aviary.sides
        if not words_in(column, side.organization, side.word)
    }

    assert not without, "let tests/filling.py make a row, or say in KEPT of tests/canaries.py why there can be no word"
    assert set(KEPT) <= {str(column) for column in aviary.columns} | {column.name for column in aviary.columns}
    assert not aviary.sides[0].ids & aviary.sides[1].ids


@pytest.mark.asvs("8.2.2")
def test_nobody_reads_a_word_of_the_other_organization(aviary: Aviary):
    silent = {*look_at_pages(aviary), *ask_as_programs(aviary), *search_as_directories(aviary)}
    take_along(aviary)

    assert not aviary.wrong
    # Proof that the words can be found: each page says some, and each column is read by its own people.
    assert silent - aviary.places == set(SILENT)
    assert "organization-export audit_log.jsonl" in aviary.places
    planted = {column for column in aviary.columns if not column.why_kept and str(column) not in WRITTEN}
    assert {str(column) for column in planted if column.number not in aviary.found} == set(UNREAD)


def pages() -> Iterator[Visit]:
    """Every page that takes somebody to an organization, as often as this run looks at it."""
    met = set()
    for visit in visits():
        is_of_people = visit.route.is_of_organization or visit.route.rule.who is Audience.SIGNED_IN
        # Who takes steps to get there belongs to no organization.
        if visit.is_empty or visit.route.name in STEPS or (visit.route.name in met and not PROVE):
            continue
        if is_of_people or PROVE:
            met.add(visit.route.name)
            yield visit


def look_at_pages(aviary: Aviary) -> Iterator[str]:
    """Yield the pages that show a person nothing of their own."""
    for visit in pages():
        is_public = not (visit.route.is_of_organization or visit.route.rule.who is Audience.SIGNED_IN)
        for query in [{}, *NARROWED.get(visit.route.name, [])]:
            with undone():
                there = [(side, *side.scene.begin(visit)) for side in aviary.sides]
                for side, client, address in there:
                    asking = signed_in(side.owner) if is_public else client
                    for headers in ({}, {"HX-Request": "true"}) if PROVE else ({},):
                        with undone():
                            answer = asking.get(address, query, headers=headers)
                            has_words = looked(aviary, side, answer, visit.route.name)
                        if answer.status_code == 200 and not (has_words or headers or is_public):
                            yield visit.route.name


def ask_as_programs(aviary: Aviary) -> Iterator[str]:
    """Yield what tells a program nothing of its own."""
    for route in PROGRAMS:
        for query in [{}, *NARROWED.get(route.name, [])]:
            for side in aviary.sides:
                with undone():
                    headers = {"Authorization": f"Bearer {side.secret_for(route)}"}
                    address = route.address("", side.scene.world.objects)
                    answer = Client(raise_request_exception=False).get(address, query, headers=headers)
                    has_words = looked(aviary, side, answer, route.name)
                    if answer.status_code == 200 and not has_words:
                        yield route.name


def search_as_directories(aviary: Aviary) -> Iterator[str]:
    for kind in ("Users", "Groups"):
        for side in aviary.sides:
            with undone():
                secret = side.scene.world.directory_secret(side.organization)
                answer = Client().post(
                    f"/scim/v2/{kind}/.search",
                    "{}",
                    content_type="application/scim+json",
                    headers={"Authorization": f"Bearer {secret}"},
                )
                if not looked(aviary, side, answer, f"search of {kind}"):
                    yield kind


def take_along(aviary: Aviary) -> None:
    for side in aviary.sides:
        with undone():
            client = signed_in(side.owner)
            archive = client.post(f"/o/{side.organization.slug}/data/export/")
            with zipfile.ZipFile(io.BytesIO(archive.getvalue())) as files:
                for name in files.namelist():
                    aviary.look(side, files.read(name).decode(), f"organization-export {name}")
            assert looked(aviary, side, client.post("/data/export/"), "your-export")


def looked(aviary: Aviary, side: Side, answer: Any, where: str) -> bool:
    """Look at an answer, and return whether there was anything of their own."""
    assert answer.status_code < 500, f"{where} answered {answer.status_code}"
    return aviary.look(side, text_of(answer), where)


def test_no_mail_says_a_word_of_the_other_organization(aviary: Aviary):
    templates = set[str]()

    def note(template: Any, **_signal: Any) -> None:
        templates.add(str(template.name))

    template_rendered.connect(note)
    try:
        mail.outbox.clear()
        let_everything_be_mailed(aviary)
    finally:
        template_rendered.disconnect(note)

    for side in aviary.sides:
        letters = [letter for letter in mail.outbox if side.word in letter.to[0]]
        assert len(letters) > 10
        for letter in letters:
            text = str(letter.message())
            assert aviary.look(side, f"{letter.subject}\n{letter.body}", f"mail: {letter.subject}") or "erased" in text
            aviary.look(side, text, f"mail: {letter.subject}")
    assert not aviary.wrong
    strangers = [letter for letter in mail.outbox if not any(side.word in letter.to[0] for side in aviary.sides)]
    assert not [each for each in strangers if any(side.word in str(each.message()) for side in aviary.sides)]
    ours = {f"emails/{path.name}" for path in (ROOT / "templates" / "emails").iterdir()}
    assert ours <= templates


def let_everything_be_mailed(aviary: Aviary) -> None:
    """Let every cause of a mail happen in both organizations, and then the jobs that mail across all of them."""
    for side in aviary.sides:
        domain = Domain.objects.owned_by(side.organization)[0].public_id
        member = side.organization.memberships.all()[0].public_id
        for kind in Notice.Kind:
            subject = domain if kind in (Notice.Kind.DOMAIN_FAILING, Notice.Kind.DOMAIN_LOST) else member
            Notice.objects.create(organization=side.organization, kind=kind, subject_id=subject, created_at=NOW)
        AuditEndpoint.objects.owned_by(side.organization).update(
            paused_at=NOW, pause_reason=AuditEndpoint.Pause.FAILING, told_at=None
        )
        Invitation.objects.owned_by(side.organization).update(mailed_at=None)
        for invitation in Invitation.objects.owned_by(side.organization):
            mail_invitation(invitation_id=invitation.pk, now=NOW)
        CapWarning.objects.owned_by(side.organization).update(warned_at=NOW, mailed_at=None)
        SpendAnomaly.objects.owned_by(side.organization).update(found_at=NOW, mailed_at=None)
        AnomalyMails.objects.owned_by(side.organization).update(is_on=True)
        paid = Payment.State.SUCCEEDED
        Payment.objects.owned_by(side.organization).update(state=paid, ended_at=NOW, mailed_at=None)
        failed = make_payment(side.organization, state=Payment.State.FAILED, now=NOW)
        card = PaymentMethod.objects.owned_by(side.organization)[0]
        Payment.objects.filter(pk=failed.pk).update(card=card, ended_at=NOW)
        Refund.objects.owned_by(side.organization).update(
            state=Refund.State.FAILED, decided_by="user_other", decided_at=NOW, ended_at=NOW, mailed_at=None
        )
        Dispute.objects.owned_by(side.organization).update(
            state=Dispute.State.LOST, is_withdrawn=True, ended_at=NOW, mailed_state=""
        )
        # Of a version that is on the list: one that was withdrawn is not mailed.
        price = Price.objects.order_by("pk")[0].public_id
        PriceNotice.objects.owned_by(side.organization).update(list_price_id=price, noted_at=NOW, mailed_at=None)
    with as_platform():
        tasks.mail_notices()
        tasks.tell_of_leaks()
        mail_anomalies(now=NOW)
        mail_warnings(now=NOW)
        mail_payments(now=NOW)
        mail_refunds(now=NOW)
        mail_disputes(now=NOW)
        mail_price_notices(now=NOW)
        mail_invoices(now=NOW)
        mail_transfers(now=NOW)
        mail_letters(now=NOW)
        tasks.tell_of_paused_endpoints()
        for step in (request_deletion, keep_organization, request_deletion):
            for side in aviary.sides:
                step(organization=side.organization, now=NOW)
            tasks.announce_closings()
        for side in aviary.sides:
            last = side.organization.memberships.filter(role=Role.VIEWER).order_by("-pk")[0].user
            with TestCase.captureOnCommitCallbacks(execute=True):
                erase_person(user=last, now=NOW)
        close_due_organizations(now=NOW + GRACE)
        tasks.announce_closings()
