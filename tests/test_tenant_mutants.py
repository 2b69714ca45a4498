"""What keeps organizations apart is held twice: by filters that tests would miss, and by the database without them.

One filter after the other is taken away (tests/tenant_mutants.py), and the questions of the tests of tenancy are asked
again (tests/tenancy_questions.py): every page and list, every address with foreign objects, every field with foreign
names, every form as it is meant. Without row-level security some answer must change, or those tests prove nothing about
the filter; with it none may (security T9).
"""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import time_machine

import tests.support
from accounts.models import Scope
from billing.models import SpendCap
from dev.paths import ROOT
from tests.mutated import worker_for
from tests.own_database import SUPERUSER
from tests.readings import Readings
from tests.support import undone
from tests.tenancy_questions import Interrogation, Question, Stage, copy_to_theirs, use_key
from tests.tenant_mutants import Mutant, Surgery, mutants
from tests.test_named_objects import Met, meet
from tests.visits import make_scene
from tests.world import NOW, World

PROVE = bool(os.environ.get("PROVE"))
SEED = int(os.environ.get("SEED", "20261122"))
SAMPLE = 6
# Where pages and lists come from: what a look at them must miss.
READING = re.compile(r"/selectors/|/views/(keys|instances)")
# Filters that say twice what is so already: without them nobody could see or change anything else.
EQUIVALENT = {
    "accounts/selectors/domains.py:join_offers:0": "a verified domain is one organization's",
    "accounts/services/directory_people.py:_enter:1": "a foreign key keeps people of a member in its organization",
    "accounts/services/domain_join.py:join_by_domain:0": "the offer was found in the organization",
    "accounts/services/notices.py:_mail:0": "looks up what a notice of the organization names",
    "accounts/services/notices.py:_member:0": "looks up what a notice of the organization names",
    "accounts/selectors/audit.py:_names:0": "looks up what entries of the organization name",
    "accounts/selectors/audit.py:_names:1": "looks up what entries of the organization name",
    "accounts/selectors/audit.py:_origins:0": "looks up what entries of the organization name",
    "accounts/selectors/service_accounts.py:keys_left_by:1": "accounts of the organization's projects are its own",
    "accounts/selectors/service_accounts.py:service_account_page:1": "keys of the organization's accounts are its own",
    "accounts/services/directory_groups.py:_follow:0": "people of the organization's groups are its members",
    "accounts/services/directory_groups.py:set_group_role:0": "the view looks the group up in the organization",
    "accounts/services/members.py:_lock_all_that_ends:0": "locks rows; which ones end is decided behind it",
    "accounts/services/service_accounts.py:hand_over_keys:0": "keys of the account's project are its organization's",
    "accounts/services/sso_sign_in.py:break_glass:0": "the view looks the owner up in the organization",
    "accounts/services/sso_connections.py:name_break_glass:0": "the view looks the owner up in the organization",
    "accounts/views/keys.py:key_create:0": "accounts of the organization's projects are its own",
    "accounts/services/audit.py:_FIND_OR_ADD:0": "a foreign key refuses an entry with another organization's origin",
    "accounts/services/project_members.py:set_project_role:0": "the view looks the member up in the organization",
    "accounts/views/project_members.py:_page:0": "a foreign key keeps a project's members in its organization",
    "billing/api/caps.py:_cap_of:0": "a key belongs to one organization",
    "billing/selectors/breakdown.py:_RANKED:2": "looks up what usage of the organization names",
    "billing/selectors/breakdown.py:_names:0": "looks up what usage of the organization names",
    "billing/selectors/breakdown.py:_names:1": "looks up what usage of the organization names",
    "billing/selectors/center_spend.py:CenterSpend._by_project:0": "looks up what usage of the organization names",
    "billing/selectors/center_spend.py:_BILLED:0": "a foreign key keeps an invoice's steps in its organization",
    "billing/selectors/center_spend.py:_LINES:0": "the spans are of projects, each of which is one organization's",
    "billing/selectors/center_spend.py:center_spans:0": "what was used in the spans is narrowed to the organization",
    "billing/selectors/debts.py:debts_of:0": "debts come by organization, and those of one are taken",
    "billing/selectors/invoice_export.py:_BUCKETS:0": "a foreign key keeps an invoice's steps in its organization",
    "billing/selectors/invoice_export.py:_EVENTS:0": "a foreign key keeps an invoice's steps in its organization",
    "billing/selectors/invoice_export.py:_EVENTS:1": "the steps are of projects, each of which is one organization's",
    "billing/selectors/invoice_export.py:export_records:0": "looks up what lines of the organization name",
    "billing/selectors/keys.py:_SPEND:0": "a key belongs to one organization",
    "billing/selectors/keys.py:_SPEND:1": "all pay one price, and a share of the whole stays that share",
    "billing/selectors/prices.py:_list_prices:0": "another one's contract makes it look for its own, and find none",
    "billing/selectors/prices.py:_terms:0": "terms come by organization, and those of one are taken",
    "billing/selectors/evidence.py:_access_log:0": "looks up what entries of the organization name",
    "billing/selectors/evidence.py:_story:0": "only the log of its organization names a payment",
    "billing/selectors/owed.py:settled_cents_of:0": "the source names the invoice, which is one organization's",
    "billing/selectors/refunds.py:may_be_unspent:0": "the source names the payment, and one grant alone may have it",
    "billing/selectors/staff_invoices.py:note_rows:0": "a foreign key keeps an invoice's notes in its organization",
    "billing/selectors/tiers.py:_USED:0": "the steps are of projects, each of which is one organization's",
    "billing/selectors/tiers.py:_with_tiers:0": "another one's tiers make it look for its own, and find none",
    "billing/selectors/unbilled.py:_UNBILLED:0": "the steps are of projects, each of which is one organization's",
    "billing/selectors/unbilled.py:grants_of:0": "looks up what grants of the organization name",
    "billing/services/cards.py:remove_card:0": "the card is one row, which the view looks up in the organization",
    "billing/services/caps.py:_spent:1": "a project and a key belong to one organization",
    "billing/services/collecting.py:_collect:1": "a foreign key keeps an invoice's payments in its organization",
    "billing/services/cost_tags.py:_first_open_day:0": "a project belongs to one organization",
    "billing/services/credit_notes.py:_routes:0": "looks up what lines of the organization name",
    "billing/services/disputes.py:_move_money:0": "the source names the payment, and one grant alone may have it",
    "billing/services/invoice_payments.py:_start:0": "a foreign key keeps an invoice's payments in its organization",
    "billing/services/invoice_settling.py:_next_source:0": "the source names the invoice, which is one organization's",
    "billing/services/invoices.py:_write_lines:0": "looks up what usage of the organization names",
    "billing/services/invoices.py:_write_lines:1": "looks up what commitments of the organization name",
    "billing/services/reservations.py:_held_by:0": "a holder is named after what holds, which is nobody else's",
    "billing/services/unspent.py:unspent_of:0": "the source names the payment, and one grant alone may have it",
    "compute/forms.py:LaunchForm.launch_request:0": "the form takes the organization's projects only",
    "compute/services/instances.py:lock_owned:0": "locks rows; which ones are returned is decided behind it",
}
# Filters that choose among an organization's own rows too: without them its own members see others of its own.
CHOOSING = {
    "billing/selectors/budget.py:budget_of:0": "the cap that is its credit, among all of its caps",
}
# Filters that the quick questions of daily work do not bring to light: the full proof counts them.
NOT_DAILY = {
    # Foreign names in fields.
    "compute/selectors/instances.py:status_cells:0",
    "compute/views/instances.py:instance_launch:0",
    # Foreign steps in FOCUS rows: the quick questions have none of the same day.
    "billing/selectors/focus.py:_STEPS:0",
    "billing/selectors/focus.py:_STEPS:1",
    "billing/selectors/focus.py:_STEPS:2",
    "billing/selectors/focus.py:_STEPS:3",
    # Somebody who made keys in two organizations.
    "accounts/selectors/service_accounts.py:keys_left_by:0",
}
# Filters that no question of these brings to light, or that no request of a customer runs: the file of tests that does.
NEIGHBOURS = "tests/accounts/test_neighbours.py"
SPENDING = "tests/billing/test_neighbours.py"
PLATFORM = "tests/billing/test_neighbours_of_the_platform.py"
DEBT = "tests/billing/test_neighbours_in_debt.py"
PAYMENTS = "tests/billing/payments/test_neighbours.py"
# Their services run as requests do, so that it is seen too that row-level security would hold instead.
SERVED = {NEIGHBOURS, SPENDING}
ELSEWHERE = {
    "accounts/scim/views.py:GroupDetail.patch:0": NEIGHBOURS,
    "accounts/services/directory_groups.py:add_group:0": NEIGHBOURS,
    "accounts/services/directory_people.py:add_person:0": NEIGHBOURS,
    "accounts/services/sso_sign_in.py:_enter_first_time:0": NEIGHBOURS,
    "accounts/selectors/members.py:is_only_break_glass:0": NEIGHBOURS,
    "accounts/services/api_keys.py:_lock_member:0": NEIGHBOURS,
    "accounts/services/audit.py:_name_deliveries:0": NEIGHBOURS,
    "accounts/services/audit_endpoints.py:_newest:0": NEIGHBOURS,
    "accounts/services/audit_endpoints.py:change_endpoint_address:0": NEIGHBOURS,
    "accounts/services/directory_groups.py:_describe:0": NEIGHBOURS,
    "accounts/services/directory_people.py:_check_unique:0": NEIGHBOURS,
    "accounts/services/directory_people.py:_enter:0": NEIGHBOURS,
    "accounts/services/domain_join.py:admit:0": NEIGHBOURS,
    "accounts/services/domains.py:add_domain:0": NEIGHBOURS,
    "accounts/services/domains.py:remove_domain:0": NEIGHBOURS,
    "accounts/services/sso_connections.py:require_sso:0": NEIGHBOURS,
    "accounts/services/sso_connections.py:require_sso:1": NEIGHBOURS,
    "compute/services/launching.py:_pasted_key:1": NEIGHBOURS,
    "accounts/scim/views.py:GroupDetail.put:0": "tests/accounts/test_scim.py",
    "accounts/services/account_of_address.py:check_address:0": "tests/accounts/test_scim.py",
    "accounts/scim/views.py:_group_listing:0": "tests/accounts/test_scim.py",
    "accounts/scim/views.py:_groups:0": "tests/accounts/test_scim.py",
    "accounts/scim/views.py:_people:0": "tests/accounts/test_scim.py",
    "accounts/selectors/sso.py:_has_address:0": NEIGHBOURS,
    "accounts/selectors/sso.py:sso_connection_of:0": "tests/accounts/test_sso.py",
    "accounts/selectors/sso.py:sso_slug_of_address:0": NEIGHBOURS,
    "accounts/services/directory_groups.py:_current:0": "tests/accounts/test_scim.py",
    "accounts/services/directory_groups.py:_set_members:0": "tests/accounts/test_scim.py",
    "accounts/services/directory_people.py:_current:0": "tests/accounts/test_scim.py",
    "accounts/services/mails.py:addresses_with:0": PLATFORM,
    "accounts/services/mails.py:owner_addresses:0": "tests/accounts/test_mails.py",
    "accounts/services/closing.py:_close:0": "tests/accounts/test_closing.py",
    "accounts/services/invitations.py:_check_acceptable:0": "tests/accounts/test_services_invitations.py",
    "accounts/services/leaked_keys.py:_leaders_of:0": "tests/accounts/test_webhooks.py",
    "accounts/selectors/rate_limits.py:limits_over_key:0": "tests/accounts/test_rate_limits.py",
    "accounts/selectors/rate_limits.py:rates_in_console:0": "tests/accounts/test_rate_limits.py",
    "accounts/services/rate_limits.py:_set:0": "tests/accounts/test_rate_limits.py",
    "accounts/services/rate_limits.py:_set:1": "tests/accounts/test_rate_limits.py",
    "accounts/services/rate_limits.py:_wake_gateways:0": "tests/accounts/test_rate_limits.py",
    "billing/selectors/anomalies.py:_reported:0": PLATFORM,
    "billing/selectors/anomalies.py:series_of:0": PLATFORM,
    "billing/selectors/closing.py:closed_until:0": PLATFORM,
    "billing/selectors/disputes.py:is_disputed:0": SPENDING,
    "billing/selectors/keys.py:spend_of_resource:0": SPENDING,
    "billing/selectors/ledger.py:trial_balance_of:0": PLATFORM,
    "billing/selectors/staff_contracts.py:contract_rows:0": PLATFORM,
    "billing/selectors/staff_ledger.py:book_page:0": "tests/billing/test_admin.py",
    "billing/selectors/staff_ledger.py:entry_page:0": "tests/billing/test_admin.py",
    "billing/selectors/commitments.py:_commitment:0": PLATFORM,
    "billing/selectors/commitments.py:commitments_of:0": PLATFORM,
    "billing/selectors/commitments.py:first_true_up:0": PLATFORM,
    "billing/selectors/tiers.py:_USED:1": PLATFORM,
    "billing/selectors/tiers.py:quantities_of:0": PLATFORM,
    "billing/selectors/tiers.py:tier_lines:0": PLATFORM,
    "billing/selectors/twin.py:_REPLAYED:0": PLATFORM,
    "billing/selectors/twin.py:_USED:0": PLATFORM,
    "billing/selectors/unbilled.py:_UNBILLED:1": PLATFORM,
    "billing/selectors/unbilled.py:overrun_nano_of:0": PLATFORM,
    "billing/selectors/unbilled.py:overrun_nano_of:1": PLATFORM,
    "billing/services/caps.py:_spent:0": SPENDING,
    "billing/services/caps.py:set_cap:0": SPENDING,
    "billing/services/contracts.py:draft_contract:0": PLATFORM,
    "billing/services/contracts.py:publish_contract:0": PLATFORM,
    "billing/services/credit_notes.py:issue_credit_note:0": PLATFORM,
    "billing/services/invoices.py:_discard_drafts_before:0": PLATFORM,
    "billing/services/invoices.py:draft_invoice:0": PLATFORM,
    "billing/services/invoices.py:void_invoice:0": PLATFORM,
    "billing/services/tier_room.py:tier_room:0": PLATFORM,
    "billing/services/payments.py:_mail:0": PLATFORM,
    "billing/services/price_notices.py:_mail:0": PLATFORM,
    "billing/services/debts.py:start_debt_payment:0": "tests/billing/payments/test_debts.py",
    "billing/services/given_up_debts.py:propose_giving_up:0": "tests/billing/payments/test_given_up_debts.py",
    "compute/services/agreed.py:refuse_beyond_quota:0": "tests/compute/test_agreed.py",
    "billing/services/top_ups.py:start_top_up:0": SPENDING,
    "inference/gateway/console.py:_caller_of_session:0": "tests/inference/test_console_door.py",
    "portal/selectors/exports.py:_OF_ORGANIZATION:0": "tests/portal/test_views_data.py",
    "billing/selectors/details.py:details_rows:0": DEBT,
    "billing/selectors/disputes.py:staff_dispute_rows:0": DEBT,
    "billing/selectors/disputes.py:warned_rows:0": DEBT,
    "billing/selectors/refunds.py:staff_refund_rows:0": DEBT,
    "billing/selectors/standing.py:overdue_cents:0": DEBT,
    "billing/selectors/terms.py:debt_of:0": DEBT,
    "billing/selectors/terms.py:owed_nano_of:0": DEBT,
    "billing/selectors/terms.py:terms_in_force:0": DEBT,
    "billing/selectors/terms.py:terms_rows:0": DEBT,
    "billing/selectors/transfers.py:transfer_rows:0": DEBT,
    "billing/selectors/unbilled.py:terms_of:0": DEBT,
    "billing/services/details.py:_wants_purchase_order:0": DEBT,
    "billing/services/invoice_settling.py:mark_paid:0": DEBT,
    "billing/services/standing.py:_act:0": DEBT,
    "billing/services/standing.py:_enter:0": DEBT,
    "billing/services/standing.py:_standing_of:0": DEBT,
    "billing/services/standing.py:approve_suspension:0": DEBT,
    "billing/services/standing.py:relieve:0": DEBT,
    "billing/services/terms.py:_begin:0": DEBT,
    "billing/services/terms.py:_has_purchase_order:0": DEBT,
    "billing/services/terms.py:propose_terms:0": DEBT,
    "billing/services/terms_room.py:fit_room:0": DEBT,
    "billing/services/terms_room.py:take_room:0": DEBT,
    "billing/services/transfers.py:unpaid_invoices:0": DEBT,
    "billing/selectors/auto_reload.py:reload_view:2": PAYMENTS,
    "billing/selectors/cards.py:is_known_to_provider:0": PAYMENTS,
    "billing/selectors/disputes.py:frozen_nano_by_source:0": PAYMENTS,
    "billing/selectors/evidence.py:_access_log:1": PAYMENTS,
    "billing/selectors/evidence.py:_access_log:2": PAYMENTS,
    "billing/selectors/evidence.py:_invoices:0": PAYMENTS,
    "billing/selectors/evidence.py:_usage:0": PAYMENTS,
    "billing/selectors/refunds.py:may_be_unspent:1": PAYMENTS,
    "billing/services/auto_reload.py:_is_due:0": PAYMENTS,
    "billing/services/auto_reload.py:set_auto_reload:0": PAYMENTS,
    "billing/services/auto_reload.py:set_auto_reload:1": PAYMENTS,
    "billing/services/auto_reload.py:start_reload:0": PAYMENTS,
    "billing/services/auto_reload.py:start_reload:1": PAYMENTS,
    "billing/services/auto_reload_outcomes.py:has_given_up:0": PAYMENTS,
    "billing/services/auto_reload_outcomes.py:note_reload:0": PAYMENTS,
    "billing/services/cards.py:_keep_a_default:0": PAYMENTS,
    "billing/services/cards.py:open_card_page:0": PAYMENTS,
    "billing/services/cards.py:open_portal:0": PAYMENTS,
    "billing/services/cards.py:read_cards:0": PAYMENTS,
    "billing/services/cards.py:settle_cards:0": PAYMENTS,
    "billing/services/cards.py:start_card_setup:0": PAYMENTS,
    "billing/services/collecting.py:_collect:0": PAYMENTS,
    "billing/services/customers.py:customer_of:0": PAYMENTS,
    "billing/services/disputes.py:_follow:0": PAYMENTS,
    "billing/services/invoice_payments.py:collect_invoice:0": PAYMENTS,
}
# Filters that no test would miss yet: without them somebody is refused, and nobody sees anything of another's.
UNSETTLED = {
    "billing/services/disputes.py:_follow:1": "a dispute that began earlier elsewhere would make an old debt count",
}


in_the_full_proof = pytest.mark.skipif(not PROVE, reason="asks every question there is: in the full proof")


@contextmanager
def without_row_level_security() -> Iterator[None]:
    """Serve requests as the superuser, whom no policy of a table holds back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tests.support, "SERVED_AS", SUPERUSER)
        yield


@pytest.fixture(scope="module")
def stage(world_of_module: World, django_db_blocker: Any) -> Iterator[Stage]:
    with django_db_blocker.unblock(), undone(), time_machine.travel(NOW, tick=False):
        scene = make_scene(world_of_module)
        SpendCap.objects.of_organization(world_of_module.ours.pk).update(limit_nano=10**15)
        with undone():
            # Without what forms and bodies name there are only pages and addresses to ask for: quick, for daily work.
            met = meet(scene) if PROVE else Met(Readings(), {}, {})
        secrets = {scope: world_of_module.secret(world_of_module.ours, scope) for scope in Scope}
        copy_to_theirs(scene, met)
        use_key(world_of_module, secrets[Scope.USAGE_READ])
        yield Stage(scene, met, secrets)


@dataclass
class Laboratory:
    """Mutants, and the questions that run through each of them."""

    interrogation: Interrogation
    surgery: Surgery
    every: list[Mutant]

    def questions_of(self, mutant: Mutant) -> list[Question]:
        found = self.interrogation.through(self.surgery.functions_of(mutant))
        for question in found:
            self.interrogation.learn(question)
        return found

    def has_questions(self, mutant: Mutant) -> bool:
        return bool(self.interrogation.through(self.surgery.functions_of(mutant)))

    def chosen(self) -> list[Mutant]:
        """Return all that can be noticed, or some of them for daily work."""
        found = [mutant for mutant in self.every if mutant.name not in {*EQUIVALENT, *ELSEWHERE, *UNSETTLED}]
        if PROVE:
            return found
        found = [mutant for mutant in found if mutant.name not in NOT_DAILY]
        found = [mutant for mutant in found if READING.search(mutant.file) and self.has_questions(mutant)]
        return random.Random(SEED).sample(found, SAMPLE)


@pytest.fixture(scope="module")
def laboratory(stage: Stage, django_db_blocker: Any) -> Laboratory:
    with django_db_blocker.unblock():
        surgery, every = Surgery(), mutants()
        interrogation = Interrogation(stage)
        interrogation.look_into([each for mutant in every for each in surgery.functions_of(mutant)])
        return Laboratory(interrogation, surgery, every)


@pytest.fixture
def unblocked(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), undone():
        yield


@pytest.mark.usefixtures("unblocked")
@pytest.mark.asvs("8.4.1")
def test_the_tests_of_tenancy_miss_a_filter_that_is_gone(laboratory: Laboratory):
    noticed, missed = list[Mutant](), list[Mutant]()
    for mutant in laboratory.chosen():
        questions = laboratory.questions_of(mutant)
        with laboratory.surgery.done(mutant), without_row_level_security():
            is_noticed = any(laboratory.interrogation.notices(question) for question in questions)
        (noticed if is_noticed else missed).append(mutant)

    assert len(noticed) >= 0.95 * len(noticed + missed), "\n".join(map(str, missed))
    assert len(noticed) >= (30 if PROVE else SAMPLE - 1)


@pytest.mark.usefixtures("unblocked")
@pytest.mark.asvs("8.4.1")
def test_row_level_security_lets_nobody_notice(laboratory: Laboratory):
    noticed = {}
    for mutant in laboratory.chosen():
        if mutant.name in CHOOSING:
            continue
        questions = laboratory.questions_of(mutant)
        with laboratory.surgery.done(mutant):
            noticed[str(mutant)] = [each.name for each in questions if laboratory.interrogation.notices(each)]

    assert {mutant: names for mutant, names in noticed.items() if names} == {}


@in_the_full_proof
@pytest.mark.usefixtures("unblocked")
def test_no_page_relies_on_row_level_security_alone(laboratory: Laboratory):
    for question in laboratory.interrogation.questions:
        laboratory.interrogation.learn(question)
    with without_row_level_security():
        relying = [each.name for each in laboratory.interrogation.questions if laboratory.interrogation.notices(each)]

    assert relying == []


@pytest.mark.usefixtures("unblocked")
def test_one_foreign_object_in_an_address_is_as_good_as_missing(laboratory: Laboratory):
    questions = [each for each in laboratory.interrogation.questions if each.must_be_refused]
    if not PROVE:
        # Those that mix ours and theirs: tests/test_tenancy.py has the others.
        questions = [each for each in questions if "accounts:project-member-remove" in each.name]
    for question in questions:
        laboratory.interrogation.learn(question)

    answers = {each.name: each.answer[0] for each in questions if each.answer is not None}
    assert len(answers) >= 6
    assert {name: status for name, status in answers.items() if status not in (404, 405)} == {}


@in_the_full_proof
@pytest.mark.usefixtures("unblocked")
def test_a_filter_is_either_reached_or_explained(laboratory: Laboratory):
    unreached = {mutant.name for mutant in laboratory.every if not laboratory.has_questions(mutant)}

    explained = {*ELSEWHERE, *EQUIVALENT, *UNSETTLED}
    assert sorted(unreached - explained) == []
    assert sorted(explained - {mutant.name for mutant in laboratory.every}) == []
    assert len(laboratory.every) >= 80


@in_the_full_proof
@pytest.mark.processes
@pytest.mark.parametrize("file", sorted(set(ELSEWHERE.values())))
def test_what_no_question_notices_the_named_tests_do(file: str):
    names = {name for name, where in ELSEWHERE.items() if where == file}
    # The other files call services as the superuser, whom no policy holds back: there is no `on` to see.
    states = "off,on" if file in SERVED else "off"
    command = [sys.executable, "-m", "tests.mutated", states, file, *sorted(names)]
    # Two of these may run at once, each on a database of its own.
    worker = worker_for(os.environ.get("PYTEST_XDIST_WORKER", ""))
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTEST_XDIST_WORKER": worker}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-4000:]

    found = {each.pop("mutant"): each for each in map(json.loads, run.stdout.splitlines())}
    expected = {"off": False, "on": True} if file in SERVED else {"off": False}
    assert found == dict.fromkeys(names, expected)
