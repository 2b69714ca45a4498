"""One include per app. Customer pages live under /o/<organization>/; the rest is listed in tests/test_tenancy.py."""

from collections.abc import Callable

from allauth.account.decorators import secure_admin_login
from allauth.socialaccount.providers.github import views as github
from allauth.socialaccount.providers.google import views as google
from django.conf import settings
from django.contrib import admin
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.csp import csp_override

from portal import views
from portal.views import api_document, browser_reports, data, overview, quickstart

# Staff sign in like everybody: the admin's own form knows neither second factors nor a limit on guesses.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
# Its scripts write HTML as Trusted Types forbid. The rest of the policy holds there too.
ADMIN_CSP = {name: values for name, values in settings.SECURE_CSP.items() if "trusted-types" not in name}
_guarded = admin.site.admin_view


def _admin_view(view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
    return csp_override(ADMIN_CSP)(_guarded(view, cacheable))


admin.site.admin_view = _admin_view  # type: ignore[method-assign,assignment]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.home, name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("csp-reports", browser_reports.csp_reports, name="csp-reports"),
    path("robots.txt", views.robots_txt, name="robots-txt"),
    path(".well-known/security.txt", views.security_txt, name="security-txt"),
    # allauth's own list would also bring sign-in pages whose forms are redirected to other sites, which our
    # Content-Security-Policy forbids: accounts.views.social begins instead.
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("accounts/sessions/", include("allauth.usersessions.urls")),
    path("accounts/3rdparty/", include("allauth.socialaccount.urls")),
    path("", include("accounts.urls")),
    path("", include("catalog.urls")),
    path("", include("billing.urls")),
    path("", include("compute.urls")),
    path("", include("inference.urls")),
    path("o/<slug:organization>/", overview.overview, name="overview"),
    path("o/<slug:organization>/quickstart/", quickstart.quickstart, name="quickstart"),
    path("o/<slug:organization>/quickstart/key/", quickstart.make_starter_key, name="quickstart-key"),
    path("o/<slug:organization>/quickstart/run/", quickstart.run, name="quickstart-run"),
    path("o/<slug:organization>/data/", data.organization_data, name="organization-data"),
    path("o/<slug:organization>/data/export/", data.organization_export, name="organization-export"),
    path("data/", data.your_data, name="your-data"),
    path("data/export/", data.your_export, name="your-export"),
    path("api/v1/openapi.json", api_document.api_document, name="api-document"),
    path("admin/", admin.site.urls),
]

SOCIAL_CALLBACKS = {"github": github.oauth2_callback, "google": google.oauth2_callback}
urlpatterns += [
    path(f"accounts/{name}/login/callback/", SOCIAL_CALLBACKS[name], name=f"{name}_callback")
    for name in settings.SOCIALACCOUNT_PROVIDERS
]

if settings.DEVELOPMENT:
    urlpatterns += [
        path("ui/", views.component_gallery, name="component-gallery"),
        path("dev/mail/", views.dev_mail, name="dev-mail"),
        path("dev/mail/<str:file>", views.dev_mail_file, name="dev-mail-file"),
    ]

handler403 = "portal.views.permission_denied"
handler404 = "portal.views.page_not_found"
handler500 = "portal.views.server_error"
