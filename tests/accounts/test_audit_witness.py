"""What is kept outside the database vouches for the end of an audit log, and its absence is said."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Organization
from accounts.selectors import links
from accounts.services.audit_anchors import VOUCHED_WITHIN, anchor_audit_logs, verify_audit_log
from portal.lib.context import forget
from tests.accounts.test_audit_log import broken, tamper, write
from tests.factories.accounts import make_organization, make_user

NOW = datetime.now(UTC)
UNVOUCHED = "Nothing outside the database vouches for the end of"


@pytest.fixture(autouse=True)
def nobody():
    yield
    forget()


@pytest.fixture
def kept(settings: Any, tmp_path: Path) -> Path:
    """Where digests are kept, which is nowhere yet."""
    settings.AUDIT_ANCHOR_DIR = tmp_path / "audit"
    return tmp_path / "audit"


@pytest.fixture
def organization(db: None) -> Organization:
    """One that is older than it may be without a digest elsewhere."""
    organization = make_organization(owner=make_user())
    write(organization)
    return organization


def is_vouched_for(organization: Organization, now: datetime = NOW) -> bool:
    return verify_audit_log(organization=organization, now=now).is_vouched_for


def test_nothing_vouches_for_a_log_whose_digests_are_gone(organization: Organization, kept: Path):
    anchor_audit_logs(now=NOW)
    assert is_vouched_for(organization)
    assert verify_audit_log(organization=organization, now=NOW).kept_sequence == 3

    [file] = kept.iterdir()
    file.write_text("")
    assert not is_vouched_for(organization)
    file.unlink()
    assert not is_vouched_for(organization)
    kept.rmdir()
    assert not is_vouched_for(organization)


def test_nothing_vouches_for_a_log_whose_last_digest_is_old(organization: Organization, kept: Path):
    anchor_audit_logs(now=NOW)

    assert is_vouched_for(organization, NOW + VOUCHED_WITHIN - timedelta(minutes=1))
    assert not is_vouched_for(organization, NOW + VOUCHED_WITHIN + timedelta(minutes=1))


def test_a_digest_of_somebody_else_vouches_for_nobody(organization: Organization, kept: Path):
    write(make_organization())
    anchor_audit_logs(now=NOW)
    [file] = kept.iterdir()
    others = [line for line in file.read_text().splitlines() if organization.public_id not in line]
    file.write_text("\n".join(others))

    assert others
    assert not is_vouched_for(organization)


def test_a_new_organization_has_time_for_its_first_digest(organization: Organization, kept: Path):
    Organization.objects.filter(pk=organization.pk).update(created_at=NOW)
    organization.refresh_from_db()
    # Its first entry is older: who says that an old organization is new changes two tables, and one is chained.
    assert not is_vouched_for(organization)

    young = make_organization()
    young.created_at = NOW
    assert is_vouched_for(young)
    assert not is_vouched_for(young, NOW + VOUCHED_WITHIN)


def test_a_line_that_was_added_takes_nothing_back(organization: Organization, kept: Path):
    anchor_audit_logs(now=NOW)
    tamper("DELETE FROM accounts_auditevent WHERE organization_id = %(organization)s AND sequence = 3", organization)
    write(organization, 2)
    assert broken(organization) == [3]

    # The day's file is read after one of an earlier name, and a later line after it.
    digest = list(links(organization))[2].digest
    for name in ("0000-01-01.jsonl", "9999-12-31.jsonl"):
        forged = kept / name
        line = {"organization": organization.public_id, "sequence": 3, "digest": digest, "at": "2026-11-22T12:00:00Z"}
        forged.write_text(json.dumps(line) + "\n")
        assert broken(organization) == [3], name
        forged.unlink()


def test_half_a_line_of_a_writer_that_died_is_passed_over(organization: Organization, kept: Path):
    anchor_audit_logs(now=NOW)
    with (kept / f"{NOW:%Y-%m-%d}.jsonl").open("a") as file:
        file.write('{"organization": "org_x", "seq\n[1]\nnull\n')

    assert is_vouched_for(organization)
    assert broken(organization) == []


def test_the_command_fails_where_nothing_vouches(organization: Organization, kept: Path, capsys: Any):
    with pytest.raises(CommandError, match=UNVOUCHED + " 1 audit logs"):
        call_command("verify_audit_log")
    assert "vouches for its end: no digest is kept" in capsys.readouterr().out

    anchor_audit_logs(now=NOW - timedelta(days=3))
    with pytest.raises(CommandError, match=UNVOUCHED):
        call_command("verify_audit_log")
    assert f"last kept {NOW - timedelta(days=3):%Y-%m-%d}" in capsys.readouterr().out

    anchor_audit_logs(now=NOW)
    call_command("verify_audit_log")


def test_the_page_says_what_vouches(organization: Organization, kept: Path, client: Any):
    client.force_login(organization.memberships.get().user)
    address = f"/o/{organization.slug}/audit-log/verify/"

    def page() -> str:
        return str(client.get(address).content.decode())

    Organization.objects.filter(pk=organization.pk).update(created_at=NOW)
    assert UNVOUCHED in page()
    assert "No digest of it is kept elsewhere" in page()
    anchor_audit_logs(now=NOW - timedelta(days=3))
    assert UNVOUCHED in page()
    assert "more than a day and a half ago" in page()
    anchor_audit_logs(now=NOW)
    assert UNVOUCHED not in page()
    assert "that of entry 3" in page()


def test_the_page_tells_a_new_organization_when_it_will_be_vouched_for(db: None, kept: Path, client: Any):
    organization = make_organization(owner=make_user())
    Organization.objects.filter(pk=organization.pk).update(created_at=NOW)
    client.force_login(organization.memberships.get().user)

    text = client.get(f"/o/{organization.slug}/audit-log/verify/").content.decode()

    assert "kept outside the database within a day and a half" in text
    assert UNVOUCHED not in text
