"""Pages of staff: what serves our models, and how much of it customers may have."""

import time
from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.models import User
from inference.forms import OfferingForm
from inference.models import Deployment
from inference.selectors import deployment_rows
from inference.services.offering import PERMISSION, UnableToChangeDeployment, change_deployment
from portal.lib.tenancy import as_platform

LIST = "admin:inference_deployment_changelist"


@admin.register(Deployment)
class DeploymentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """One page: every deployment with a form of its own."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.deployments), name=LIST.removeprefix("admin:"))]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def deployments(self, request: HttpRequest) -> HttpResponse:
        """Show the deployments; change one by who signed in lately."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = OfferingForm(request.POST or None)
        if request.method == "POST":
            if not request.user.has_perm(PERMISSION):
                raise PermissionDenied
            if not is_sign_in_recent(request, time.time()):
                raise ReauthenticationRequired
        if form.is_valid() and isinstance(request.user, User):
            public_id = form.cleaned_data["deployment"]
            try:
                with as_platform():
                    change_deployment(
                        public_id=public_id, offering=form.offering(), by=request.user, now=timezone.now()
                    )
            except UnableToChangeDeployment as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _("Done. Every gateway works like this within a second."))
                return redirect(LIST)
        with as_platform():
            rows = deployment_rows()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Deployments"),
            "rows": rows,
            "form": form,
            "may_change": request.user.has_perm(PERMISSION),
        }
        return TemplateResponse(request, "admin/deployments.html", context, status=422 if form.is_bound else 200)
