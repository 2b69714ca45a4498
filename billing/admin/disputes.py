"""Disputes: until when they are answered, what speaks for the payment, and one button that sends it."""

from http import HTTPStatus

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from billing.admin.steps import organization_of
from billing.models import Dispute
from billing.selectors import disputes
from billing.selectors.evidence import evidence_text
from billing.services.disputes import ANSWER, UnableToAnswer, answer_dispute
from portal.lib.tenancy import as_platform

LIST = "admin:billing_dispute_changelist"
DETAIL = "admin:billing_dispute_detail"
EVIDENCE = "admin:billing_dispute_evidence"


@admin.register(Dispute)
class DisputeAdmin(ReadingAdmin):
    """The list, a page for each, and its evidence as a file."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.disputes), name=LIST.removeprefix("admin:")),
            path("<str:public_id>/", view(self.dispute), name=DETAIL.removeprefix("admin:")),
            path("<str:public_id>/evidence.txt", view(self.evidence), name=EVIDENCE.removeprefix("admin:")),
        ]

    def disputes(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        with as_platform():
            organization = organization_of(request)
            context = {
                "title": _("Disputes"),
                "organization": organization,
                "rows": disputes.staff_dispute_rows(organization),
                "warned": disputes.warned_rows(organization),
            }
        return self.page(request, "admin/disputes.html", context)

    def dispute(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show a dispute with its evidence; POST lets that be sent."""
        self.check_reading(request)
        may_answer = request.user.has_perm(ANSWER)
        with as_platform():
            dispute = _find(public_id)
            if request.method == "POST":
                by = self.check_changing(request, is_allowed=may_answer)
                try:
                    answer_dispute(dispute=dispute, by=by, now=timezone.now())
                except UnableToAnswer as error:
                    messages.error(request, str(error))
                else:
                    messages.success(request, _("The evidence is on its way to the payment provider."))
                    return redirect(DETAIL, public_id)
            context = {
                "title": public_id,
                "row": disputes.dispute_row(dispute),
                "evidence": evidence_text(dispute, now=timezone.now()),
                "may_answer": may_answer,
            }
        answer = self.page(request, "admin/dispute.html", context)
        answer.status_code = HTTPStatus.CONFLICT if request.method == "POST" else HTTPStatus.OK
        return answer

    def evidence(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Give the evidence as a text file."""
        self.check_reading(request)
        with as_platform():
            text = evidence_text(_find(public_id), now=timezone.now())
        headers = {"Content-Disposition": f'attachment; filename="{public_id}.txt"'}
        return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)


def _find(public_id: str) -> Dispute:
    dispute = disputes.find_dispute(public_id)
    if dispute is None:
        raise Http404
    return dispute
