"""What an organization wants to know of unusual days; they are listed on the spend page."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission
from billing.forms.spend import AnomalyMailsForm
from billing.services.anomalies import set_anomaly_mails


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def anomaly_mails(request: OrganizationRequest) -> HttpResponse:
    """Turn the mails of unusual days on, or off where `is_on` is missing."""
    form = AnomalyMailsForm(request.POST)
    is_on = form.is_valid() and form.cleaned_data["is_on"]
    set_anomaly_mails(organization=request.organization, is_on=is_on, now=timezone.now())
    words = _("You will be mailed of unusual days.") if is_on else _("No more mails of unusual days.")
    messages.success(request, words)
    return redirect("billing:cap-list", request.organization.slug)
