"""Pages of staff: invoices and what is owed; credit notes, which one of finance proposes and another issues."""

from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import User
from billing.admin.payments import more_of
from billing.forms.finance import CreditNoteForm, StaffSearchForm
from billing.models import CreditNote, Invoice
from billing.selectors import staff_invoices
from billing.selectors.invoices import invoice_page
from billing.selectors.staff_receivables import receivables
from billing.services.credit_notes import (
    DECIDE,
    PROPOSE,
    decline_credit_note,
    issue_credit_note,
    propose_credit_note,
)
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

DETAIL = "admin:billing_invoice_detail"


@admin.register(Invoice)
class InvoiceAdmin(ReadingAdmin):
    """Invoices of all organizations, newest first; a page for each; and what is owed, by age."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.invoices), name="billing_invoice_changelist"),
            path("receivables/", view(self.receivables), name="billing_invoice_receivables"),
            path("<str:public_id>/", view(self.invoice), name=DETAIL.removeprefix("admin:")),
            path("<str:public_id>/document/", view(self.document), name="billing_invoice_document"),
        ]

    def invoices(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        form = StaffSearchForm(request.GET, states=list(Invoice.Status.choices))
        page = None
        if form.is_valid():
            with as_platform():
                page = staff_invoices.invoice_page_of(form.search())
        context = {"title": _("Invoices"), "form": form, "page": page, "more": more_of(request, page)}
        return self._answer(request, "admin/invoices.html", context, is_refused=page is None)

    def receivables(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        with as_platform():
            owed = receivables(timezone.now())
        return self.page(request, "admin/receivables.html", {"title": _("Aged receivables"), "owed": owed})

    def document(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show an issued invoice as its customer gets it."""
        self.check_reading(request)
        with as_platform():
            invoice = staff_invoices.find_invoice(public_id)
            if invoice is None or invoice.issued_at is None:
                raise Http404
            return render(request, "billing/invoice_print.html", {"page": invoice_page(invoice)})

    def invoice(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show an invoice with its lines and credit notes; POST proposes, issues or declines a note."""
        self.check_reading(request)
        may_propose, may_decide = request.user.has_perm(PROPOSE), request.user.has_perm(DECIDE)
        form = CreditNoteForm(request.POST if request.POST.get("step") == "propose" else None)
        with as_platform():
            invoice = staff_invoices.find_invoice(public_id)
            if invoice is None:
                raise Http404
            if request.method == "POST":
                by = self.check_changing(request, is_allowed=may_propose if form.is_bound else may_decide)
                if _step(request, invoice, form, by):
                    messages.success(request, _("Done. It is in the organization's audit log."))
                    return redirect(DETAIL, public_id)
            context = {
                "title": invoice.number or invoice.public_id,
                "row": staff_invoices.staff_invoice_row(invoice),
                "lines": staff_invoices.line_rows(invoice),
                "notes": staff_invoices.note_rows(invoice),
                "form": form if may_propose and invoice.issued_at else None,
                "may_decide": may_decide,
                "me": self.staff(request).public_id,
            }
        return self.answer(request, "admin/invoice.html", context)

    def _answer(
        self, request: HttpRequest, template: str, context: dict[str, Any], *, is_refused: bool
    ) -> HttpResponse:
        answer = self.page(request, template, context)
        answer.status_code = HTTPStatus.UNPROCESSABLE_ENTITY if is_refused else HTTPStatus.OK
        return answer


@admin.register(CreditNote)
class CreditNoteAdmin(ReadingAdmin):
    """Credit notes of all organizations: those that wait for a second person, then the newest."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.notes), name="billing_creditnote_changelist")]

    def notes(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        with as_platform():
            notes = staff_invoices.note_rows()
        return self.page(request, "admin/credit_notes.html", {"title": _("Credit notes"), "notes": notes})


def _step(request: HttpRequest, invoice: Invoice, form: CreditNoteForm, by: User) -> bool:
    """Take the step that was asked for; False, with a message, when it is refused. Raises Http404."""
    now = timezone.now()
    try:
        if form.is_bound:
            if not form.is_valid():
                return False
            given = form.cleaned_data
            propose_credit_note(invoice=invoice, positions=given["positions"], reason=given["reason"], by=by, now=now)
            return True
        note = staff_invoices.find_note(invoice, request.POST.get("note", ""))
        if note is None:
            raise Http404
        return _decide(note, request.POST.get("step", ""), by)
    except DomainError as error:
        messages.error(request, str(error))
        return False


def _decide(note: CreditNote, step: str, by: User) -> bool:
    if step == "issue":
        issue_credit_note(note=note, by=by, now=timezone.now())
    elif step == "decline":
        decline_credit_note(note=note, by=by, now=timezone.now())
    return step in ("issue", "decline")
