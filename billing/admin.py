"""Pages of staff: the ledger, to read. Nothing of it is changed here or anywhere."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from accounts.models import Organization
from billing.models import LedgerAccount, LedgerEntry
from billing.selectors import staff_ledger
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
