"""The page on which an organization says who it is on its invoices."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.models import Permission
from billing.forms.details import DetailsForm
from billing.selectors.details import details_of
from billing.services.details import BadTaxId, NeedsPurchaseOrder, UnableToChangeDetails, change_details


@organization_required(Permission.MANAGE_BILLING)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def billing_details(request: OrganizationRequest) -> HttpResponse:
    details = details_of(request.organization)
    form = DetailsForm(request.POST or None, initial=DetailsForm.initial_of(details))
    if form.is_valid():
        try:
            change_details(organization=request.organization, stated=form.stated(), now=timezone.now())
        except BadTaxId as error:
            form.add_error("tax_id", str(error))
        except NeedsPurchaseOrder as error:
            form.add_error("purchase_order", str(error))
        except UnableToChangeDetails as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("Kept. Invoices from now on have these details."))
            return redirect("billing:details", request.organization.slug)
    context = {"form": form, "details": details}
    return render(request, "billing/details.html", context, status=422 if form.is_bound else 200)
