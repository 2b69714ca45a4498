"""The page of staff that lets an organization call models faster or slower than all."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.forms.rate_limits import OrganizationRatesForm
from accounts.models import Organization, RateLimit, User
from accounts.selectors.rate_limits import rate_rows_of_organizations
from accounts.services.rate_limits import PERMISSION, UnableToSetRates, set_rates_of_organization
from portal.lib.tenancy import as_platform

ADDRESS = "admin:accounts_ratelimit_changelist"


@admin.register(RateLimit)
class RateLimitAdmin(ReadingAdmin):
    """One page: which organizations have rates of their own, and a form that changes those of one."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.rates), name=ADDRESS.removeprefix("admin:"))]

    def rates(self, request: HttpRequest) -> HttpResponse:
        """Show the organizations with rates of their own; change those of one by who signed in lately."""
        self.check_reading(request)
        form, may_change = OrganizationRatesForm(request.POST or None), request.user.has_perm(PERMISSION)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_change)
            if form.is_valid():
                try:
                    with as_platform():
                        _change(form, by)
                except UnableToSetRates as error:
                    form.add_error(None, str(error))
                else:
                    messages.success(request, _("Done. It is in the organization's audit log."))
                    return redirect(ADDRESS)
        with as_platform():
            rows = rate_rows_of_organizations()
        context = {"title": _("Rate limits"), "form": form, "rows": rows, "may_change": may_change}
        return self.answer(request, "admin/rate_limits.html", context)


def _change(form: OrganizationRatesForm, by: User) -> None:
    organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
    if organization is None:
        raise UnableToSetRates(_("There is no organization with this address."))
    set_rates_of_organization(organization=organization, rates=form.rates(), by=by, now=timezone.now())
