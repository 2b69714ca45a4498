"""Pages of staff: what became of usage events, and the queue of those that wait for a person."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import User
from billing.forms.usage import FateSearchForm, UsageDecisionForm
from billing.models import UsageFate
from billing.selectors import fates
from billing.services.usage_decisions import PERMISSION, UnableToDecide, accept_event, refuse_event
from portal.lib.tenancy import as_platform


@admin.register(UsageFate)
class UsageFateAdmin(ReadingAdmin):
    """What became of an event, by its id, and what waits for somebody to decide."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.fates), name="billing_usagefate_changelist")]

    def fates(self, request: HttpRequest) -> HttpResponse:
        """Show a fate and the queue; count or refuse one of the queue with a reason, by who signed in lately."""
        self.check_reading(request)
        form = UsageDecisionForm(request.POST or None, auto_id="decide_%s")
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=request.user.has_perm(PERMISSION))
            if form.is_valid() and _decided(form, by):
                messages.success(request, _("Done. It is in the log of its organization and of the admin."))
                return redirect("admin:billing_usagefate_changelist")
        search = FateSearchForm(request.GET if "event_id" in request.GET else None)
        with as_platform():
            found = fates.fate_of(**search.cleaned_data) if search.is_valid() else None
            waiting = fates.queue()
        context = {"title": _("Usage events"), "form": form, "search": search, "found": found, "waiting": waiting}
        context["may_decide"] = request.user.has_perm(PERMISSION)
        return self.answer(request, "admin/usage_fates.html", context)


def _decided(form: UsageDecisionForm, by: User) -> bool:
    """Decide as the form says; False, with the form saying why, when that is refused."""
    given = form.cleaned_data
    decide = accept_event if given["verdict"] == "accept" else refuse_event
    try:
        with as_platform():
            decide(event_id=given["event_id"], reason=given["reason"], by=by, now=timezone.now())
    except UnableToDecide as error:
        form.add_error(None, str(error))
        return False
    return True
