"""The page of staff for credit as a goodwill, which one of finance proposes and another gives."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from billing.admin.proposals import ProposalsAdmin
from billing.forms.finance import GoodwillForm
from billing.models import Goodwill
from billing.selectors.staff_invoices import ProposalRow, goodwill_rows
from billing.services.goodwill import DECIDE, PROPOSE, decline_goodwill, give_goodwill, propose_goodwill


@admin.register(Goodwill)
class GoodwillAdmin(ProposalsAdmin):
    propose_right, decide_right = PROPOSE, DECIDE
    form_class, subject = GoodwillForm, "goodwill"
    decisions = {"give": give_goodwill, "decline": decline_goodwill}
    title, form_title, agree = _("Goodwill"), _("Propose credit"), _("Give")
    lead = _("Credit that we give by our own decision, in US dollars. Somebody else than who proposes it gives it.")

    def rows(self) -> Sequence[ProposalRow]:
        return goodwill_rows()

    def propose(self, form: GoodwillForm, *, organization: Organization, by: User, now: datetime) -> Goodwill:
        cents, reason = form.amount_cents(), form.cleaned_data["reason"]
        return propose_goodwill(organization=organization, amount_cents=cents, reason=reason, by=by, now=now)
