"""Pages of staff: the ledger, to read. Nothing of it is changed here or anywhere."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from billing.admin.steps import organization_of
from billing.models import LedgerAccount, LedgerEntry
from billing.selectors import staff_ledger
from portal.lib.tenancy import as_platform

# Of the database's numbers: what is longer names no entry.
LONGEST_NUMBER = 18


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
            organization = organization_of(request)
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
            organization = organization_of(request)
            entries = staff_ledger.entry_page(organization, before=int(before) if before else None)
        context = {"title": _("Ledger entries"), "organization": organization, "page": entries}
        return self.page(request, "admin/ledger_entries.html", context)
