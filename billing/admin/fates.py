"""Pages of staff: what became of usage events, and the queue of those that wait for a person."""

import time

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.models import User
from billing.admin.reading import ReadingAdmin
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
            self.check_deciding(request)
        if form.is_valid() and isinstance(request.user, User):
            try:
                with as_platform():
                    _decide(form, request.user)
            except UnableToDecide as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _("Done. It is in the log of its organization and of the admin."))
                return redirect("admin:billing_usagefate_changelist")
        search = FateSearchForm(request.GET if "event_id" in request.GET else None)
        with as_platform():
            found = fates.fate_of(**search.cleaned_data) if search.is_valid() else None
            waiting = fates.queue()
        context = {"title": _("Usage events"), "form": form, "search": search, "found": found, "waiting": waiting}
        context["may_decide"] = request.user.has_perm(PERMISSION)
        answer = self.page(request, "admin/usage_fates.html", context)
        answer.status_code = 422 if form.is_bound else 200
        return answer

    def check_deciding(self, request: HttpRequest) -> None:
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        if not is_sign_in_recent(request, time.time()):
            raise ReauthenticationRequired


def _decide(form: UsageDecisionForm, by: User) -> None:
    given = form.cleaned_data
    decide = accept_event if given["verdict"] == "accept" else refuse_event
    decide(event_id=given["event_id"], reason=given["reason"], by=by, now=timezone.now())
