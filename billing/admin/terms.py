"""Terms of organizations: proposed by one of staff, approved by another; what they owe beside it."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import Organization, OrganizationTerms, User
from billing.admin.steps import organization_of, take_step
from billing.forms.contracts import TermsForm
from billing.selectors import terms as selectors
from billing.services.terms import APPROVE, PROPOSE, approve_terms, discard_terms, end_terms, propose_terms
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:accounts_organizationterms_changelist"
DETAIL = "admin:accounts_organizationterms_detail"
STEPS: dict[str, Callable[..., OrganizationTerms]] = {
    "approve": approve_terms,
    "discard": discard_terms,
    "end": end_terms,
}
Status = OrganizationTerms.Status


@admin.register(OrganizationTerms)
class OrganizationTermsAdmin(ReadingAdmin):
    """The list with a form for a proposal, and a page for each. Terms are never edited but proposed anew."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.all_terms), name=LIST.removeprefix("admin:")),
            path("<str:public_id>/", view(self.terms), name=DETAIL.removeprefix("admin:")),
        ]

    def all_terms(self, request: HttpRequest) -> HttpResponse:
        """List terms; POST proposes some."""
        self.check_reading(request)
        may_propose = request.user.has_perm(PROPOSE)
        form = TermsForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_propose)
            if form.is_valid() and (terms := _proposed(form, by, timezone.now())):
                messages.success(request, _("Proposed. Somebody else has to approve it."))
                return redirect(DETAIL, terms.public_id)
        with as_platform():
            organization = organization_of(request)
            rows = selectors.terms_rows(organization)
        context = {
            "title": _("Terms"),
            "organization": organization,
            "rows": rows,
            "form": form if may_propose else None,
        }
        return self.answer(request, "admin/terms_list.html", context)

    def terms(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show one version and what its organization owes; POST takes the next step."""
        self.check_reading(request)
        with as_platform():
            terms = selectors.find_terms(public_id)
            if terms is None:
                raise Http404
            may_approve, may_propose = request.user.has_perm(APPROVE), request.user.has_perm(PROPOSE)
            if request.method == "POST":
                by = self.check_changing(request, is_allowed=may_approve or may_propose)
                if _step(request, terms, by):
                    return redirect(DETAIL, public_id)
            context = {
                "title": _("Terms of %(organization)s") % {"organization": terms.organization.name},
                "row": selectors.terms_row(terms),
                "debt": selectors.debt_of(terms.organization_id),
                "steps": _steps(terms, request),
            }
        return self.answer(request, "admin/terms_detail.html", context)


def _proposed(form: TermsForm, by: User, now: datetime) -> OrganizationTerms | None:
    """Propose what the form says; None, with the form saying why, when that is refused."""
    with as_platform():
        organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
        if organization is None:
            form.add_error("organization", _("There is no organization with this address."))
            return None
        try:
            return propose_terms(organization=organization, proposed=form.proposed(), by=by, now=now)
        except DomainError as error:
            form.add_error(None, str(error))
            return None


def _step(request: HttpRequest, terms: OrganizationTerms, by: User) -> bool:
    step = STEPS.get(request.POST.get("step", ""))
    return take_step(request, step and partial(step, terms=terms, by=by, now=timezone.now()))


def _steps(terms: OrganizationTerms, request: HttpRequest) -> list[tuple[str, str]]:
    """Return what may be pressed: (word, label)."""
    found = []
    may_approve, may_propose = request.user.has_perm(APPROVE), request.user.has_perm(PROPOSE)
    if may_approve and terms.proposed_by_id != request.user.pk and terms.can_become(Status.APPROVED):
        found.append(("approve", _("Approve")))
    if (may_approve or may_propose) and terms.can_become(Status.DISCARDED):
        found.append(("discard", _("Discard")))
    if may_approve and terms.can_become(Status.ENDED):
        found.append(("end", _("End now")))
    return found
