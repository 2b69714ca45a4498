"""The page of staff that issues, rotates and revokes the keys of the owner's own systems."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.forms.operator import NewOperatorKeyForm, OperatorKeyForm
from accounts.models import OperatorKey, OperatorScope, Overlap, User
from accounts.selectors.operator_keys import operator_key_rows
from accounts.services.operator_keys import (
    PERMISSION,
    UnableToChangeOperatorKey,
    issue_operator_key,
    revoke_operator_key,
    rotate_operator_key,
)
from portal.lib.tenancy import as_platform


@admin.register(OperatorKey)
class OperatorKeyAdmin(ReadingAdmin):
    """One page: the keys of the owner's own systems, what was done to them, and forms that issue, rotate and revoke."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.keys), name="accounts_operatorkey_changelist")]

    def keys(self, request: HttpRequest) -> HttpResponse:
        """Show the keys; change one by who signed in lately. A new secret is in the answer and nowhere else."""
        self.check_reading(request)
        may_change = request.user.has_perm(PERMISSION)
        if request.method == "POST":
            self.check_changing(request, is_allowed=may_change)
        action = request.POST.get("action", "")
        issuing = NewOperatorKeyForm(request.POST if action == "issue" else None)
        changing = OperatorKeyForm(request.POST if action in ("rotate", "revoke") else None)
        secret = None
        chosen = next((form for form in (issuing, changing) if form.is_bound), None)
        if chosen is not None and chosen.is_valid():
            try:
                with as_platform():
                    secret = _change_key(chosen, self.staff(request))
            except UnableToChangeOperatorKey as error:
                chosen.add_error(None, str(error))
            else:
                issuing, changing = NewOperatorKeyForm(), OperatorKeyForm()
        with as_platform():
            rows = operator_key_rows(timezone.now())
        context = {"title": _("Operator keys"), "rows": rows, "issuing": issuing, "changing": changing}
        answer = self.page(request, "admin/operator_keys.html", context | {"secret": secret, "may_change": may_change})
        answer.status_code = 422 if issuing.is_bound or changing.is_bound else 200
        answer["Cache-Control"] = "no-store"
        return answer


def _change_key(form: NewOperatorKeyForm | OperatorKeyForm, by: User) -> str | None:
    """Do what the form says and return the new secret, if there is one."""
    given, now = form.cleaned_data, timezone.now()
    if isinstance(form, NewOperatorKeyForm):
        scopes = [OperatorScope(scope) for scope in given["scopes"]]
        return issue_operator_key(name=given["name"], scopes=scopes, by=by, now=now).secret
    if given["action"] == "rotate":
        overlap = Overlap(given["overlap"])
        return rotate_operator_key(public_id=given["key"], overlap=overlap, by=by, now=now).secret
    revoke_operator_key(public_id=given["key"], by=by, now=now)
    return None
