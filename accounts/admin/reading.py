"""What pages of staff have in common, in every app: who may look, and who may change something."""

import time
from http import HTTPStatus
from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.access import is_sign_in_recent
from accounts.models import User


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

    def staff(self, request: HttpRequest) -> User:
        """Return who looks: the admin lets nobody in but people."""
        if not isinstance(request.user, User):
            raise PermissionDenied
        return request.user

    def check_changing(self, request: HttpRequest, *, is_allowed: bool) -> User:
        """Return who changes something; ask them to sign in again unless they did lately."""
        if not is_allowed:
            raise PermissionDenied
        if not is_sign_in_recent(request, time.time()):
            raise ReauthenticationRequired
        return self.staff(request)

    def answer(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """Return a page; after a POST it is the answer to one that was refused."""
        response = self.page(request, template, context)
        if request.method == "POST":
            response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
        return response

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        return TemplateResponse(request, template, {**self.admin_site.each_context(request), **context})
