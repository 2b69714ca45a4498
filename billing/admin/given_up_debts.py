"""The page of staff for what lost disputes left owed and nobody will pay, given up by two people."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from billing.admin.proposals import ProposalsAdmin
from billing.forms.finance import GivenUpDebtForm
from billing.models import GivenUpDebt
from billing.selectors.staff_invoices import ProposalRow, given_up_rows
from billing.services.given_up_debts import DECIDE, PROPOSE, give_up_debt, keep_debt, propose_giving_up


@admin.register(GivenUpDebt)
class GivenUpDebtAdmin(ProposalsAdmin):
    propose_right, decide_right = PROPOSE, DECIDE
    form_class, subject = GivenUpDebtForm, "debt"
    decisions = {"give_up": give_up_debt, "decline": keep_debt}
    title, form_title, agree = _("Debts given up"), _("Propose to give up all that is owed"), _("Give up")
    lead = _(
        "What lost disputes left owed and nobody will pay, in US dollars. Somebody else than who proposes it gives it"
        " up: then it is owed no more, and is our loss."
    )

    def rows(self) -> Sequence[ProposalRow]:
        return given_up_rows()

    def propose(self, form: GivenUpDebtForm, *, organization: Organization, by: User, now: datetime) -> GivenUpDebt:
        return propose_giving_up(organization=organization, reason=form.cleaned_data["reason"], by=by, now=now)
