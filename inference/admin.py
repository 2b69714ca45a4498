"""Pages of staff: what serves our models, and how much of it customers may have."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from inference.forms import OfferingForm
from inference.models import Deployment
from inference.selectors import deployment_rows
from inference.services.offering import PERMISSION, UnableToChangeDeployment, change_deployment
from portal.lib.tenancy import as_platform

LIST = "admin:inference_deployment_changelist"


@admin.register(Deployment)
class DeploymentAdmin(ReadingAdmin):
    """One page: every deployment with a form of its own."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.deployments), name=LIST.removeprefix("admin:"))]

    def deployments(self, request: HttpRequest) -> HttpResponse:
        """Show the deployments; change one by who signed in lately."""
        self.check_reading(request)
        form, may_change = OfferingForm(request.POST or None), request.user.has_perm(PERMISSION)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_change)
            if form.is_valid():
                public_id, offering = form.cleaned_data["deployment"], form.offering()
                try:
                    with as_platform():
                        change_deployment(public_id=public_id, offering=offering, by=by, now=timezone.now())
                except UnableToChangeDeployment as error:
                    form.add_error(None, str(error))
                else:
                    messages.success(request, _("Done. Every gateway works like this within a second."))
                    return redirect(LIST)
        with as_platform():
            rows = deployment_rows()
        context = {"title": _("Deployments"), "rows": rows, "form": form, "may_change": may_change}
        return self.answer(request, "admin/deployments.html", context)
