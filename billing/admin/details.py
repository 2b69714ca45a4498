"""Tax ids that wait for somebody to ask their tax office, and certificates of exemption."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import User
from billing.admin.steps import organization_of
from billing.forms.details import TaxConfirmationForm
from billing.models import BillingDetails
from billing.selectors.details import details_rows
from billing.services.details import CONFIRM, UnableToChangeDetails, confirm_tax_details
from portal.lib.tenancy import as_platform

LIST = "admin:billing_billingdetails_changelist"


@admin.register(BillingDetails)
class BillingDetailsAdmin(ReadingAdmin):
    """One page: details with an unconfirmed id, or those of one organization, and a form that keeps what was found."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.details), name=LIST.removeprefix("admin:"))]

    def details(self, request: HttpRequest) -> HttpResponse:
        """List what waits; POST confirms a tax id or keeps an exemption."""
        self.check_reading(request)
        may_confirm = request.user.has_perm(CONFIRM)
        form = TaxConfirmationForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_confirm)
            if form.is_valid() and _confirmed(form, by):
                messages.success(request, _("Done. It is in the organization's audit log."))
                return redirect(LIST)
        with as_platform():
            organization = organization_of(request)
            rows = details_rows(organization)
        context = {
            "title": _("Billing details"),
            "organization": organization,
            "rows": rows,
            "form": form if may_confirm else None,
        }
        return self.answer(request, "admin/billing_details.html", context)


def _confirmed(form: TaxConfirmationForm, by: User) -> bool:
    """Keep what the form says; False, with the form saying why, when that is refused."""
    given = form.cleaned_data
    with as_platform():
        details = BillingDetails.objects.filter(organization__slug=given["organization"]).first()
        if details is None:
            form.add_error("organization", _("There is no organization with this address that has billing details."))
            return False
        try:
            confirm_tax_details(
                details=details,
                tax_id=given["tax_id"],
                is_confirmed=given["is_confirmed"],
                exemption=given["exemption"],
                by=by,
                now=timezone.now(),
            )
        except UnableToChangeDetails as error:
            form.add_error(None, str(error))
            return False
    return True
