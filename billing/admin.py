"""Pages of staff: the ledger, to read; what became of usage events, and the queue of those that wait for a person."""

import time
from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.models import Organization, User
from billing.forms import FateSearchForm, UsageDecisionForm
from billing.models import LedgerAccount, LedgerEntry, UsageFate
from billing.selectors import fates, staff_ledger
from billing.services.usage_decisions import PERMISSION, UnableToDecide, accept_event, refuse_event
from portal.lib.tenancy import as_platform

# Of the database's numbers: what is longer names no entry.
LONGEST_NUMBER = 18


class ReadingAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Pages of our own that show, and neither add nor change nor delete. Who may look: accounts.services.staff."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def check_reading(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        return TemplateResponse(request, template, {**self.admin_site.each_context(request), **context})


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadingAdmin):
    """The trial balance, an organization's accounts, and the statement of one."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.book), name="billing_ledgeraccount_changelist"),
            path("<str:public_id>/", view(self.statement), name="billing_ledgeraccount_statement"),
        ]

    def book(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        with as_platform():
            organization = _organization(request)
            book = staff_ledger.book_page(organization)
        context = {"title": _("Ledger"), "organization": organization, "book": book}
        return self.page(request, "admin/ledger_book.html", context)

    def statement(self, request: HttpRequest, public_id: str) -> HttpResponse:
        self.check_reading(request)
        with as_platform():
            try:
                statement = staff_ledger.statement_page(public_id, before=request.GET.get("before"))
            except ValueError as error:
                raise Http404 from error
        if statement is None:
            raise Http404
        context = {"title": statement.account.name, "statement": statement}
        return self.page(request, "admin/ledger_statement.html", context)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadingAdmin):
    """The entries of an organization, or of all, newest first."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.entries), name="billing_ledgerentry_changelist")]

    def entries(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        before = request.GET.get("before", "")
        if before and not (before.isascii() and before.isdigit() and len(before) <= LONGEST_NUMBER):
            raise Http404
        with as_platform():
            organization = _organization(request)
            entries = staff_ledger.entry_page(organization, before=int(before) if before else None)
        context = {"title": _("Ledger entries"), "organization": organization, "page": entries}
        return self.page(request, "admin/ledger_entries.html", context)


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


def _organization(request: HttpRequest) -> Organization | None:
    """Return the organization that was asked for by its address, None where none was. Raises Http404."""
    slug = request.GET.get("organization", "")
    if not slug:
        return None
    # PostgreSQL takes no NUL in a text.
    organization = None if "\0" in slug else Organization.objects.filter(slug=slug).first()
    if organization is None:
        raise Http404(_("There is no organization with this address."))
    return organization
