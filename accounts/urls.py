"""Addresses of this app. Customer pages start with o/<slug:organization>/."""

from django.urls import URLPattern, URLResolver, path

from accounts import webhooks
from accounts.api import audit as audit_api
from accounts.api import keys as keys_api
from accounts.api import projects as projects_api
from accounts.api import service_accounts as service_accounts_api
from accounts.views import (
    audit,
    audit_endpoints,
    closing,
    domains,
    erasure,
    invitations,
    keys,
    members,
    organizations,
    project_members,
    saml,
    service_accounts,
    sign_in,
    social,
    sso,
    sso_settings,
)

app_name = "accounts"
urlpatterns: list[URLPattern | URLResolver] = [
    path("welcome/", sign_in.welcome, name="welcome"),
    path("confirm-it-is-you/", sign_in.reauthenticate_by_code, name="reauthenticate-by-code"),
    path("data/erase/", erasure.erase, name="erase"),
    path("organizations/", organizations.organization_list, name="organization-list"),
    path("o/<slug:organization>/settings/", organizations.organization_settings, name="organization-settings"),
    path("invitations/<str:token>/", invitations.invitation, name="invitation"),
    path("join/<str:public_id>/", domains.join, name="domain-join"),
    path("o/<slug:organization>/domains/", domains.domain_list, name="domain-list"),
    path("o/<slug:organization>/domains/<str:public_id>/", domains.domain_detail, name="domain-detail"),
    path("o/<slug:organization>/domains/<str:public_id>/verify/", domains.verify, name="domain-verify"),
    path("o/<slug:organization>/domains/<str:public_id>/remove/", domains.remove, name="domain-remove"),
    path("sign-in-with/<slug:provider>/", social.begin, name="social-begin"),
    path("sso/", sso.entry, name="sso-entry"),
    path("sso/<slug:slug>/", sso.organization, name="sso-organization"),
    path("sso/<slug:slug>/callback/", sso.callback, name="sso-callback"),
    path("sso/<slug:slug>/metadata/", saml.metadata, name="saml-metadata"),
    path("sso/<slug:slug>/acs/", saml.acs, name="saml-acs"),
    path("sso/<slug:slug>/continue/", saml.go_on, name="saml-continue"),
    path("sso/<slug:slug>/break-glass/", sso.enter_without, name="sso-break-glass"),
    path("o/<slug:organization>/single-sign-on/", sso_settings.settings_page, name="sso-settings"),
    path("o/<slug:organization>/single-sign-on/saml/", sso_settings.saml_page, name="sso-saml"),
    path("o/<slug:organization>/single-sign-on/remove/", sso_settings.remove, name="sso-remove"),
    path("o/<slug:organization>/single-sign-on/require/", sso_settings.require, name="sso-require"),
    path("o/<slug:organization>/single-sign-on/make-optional/", sso_settings.make_optional, name="sso-make-optional"),
    path(
        "o/<slug:organization>/single-sign-on/owners/<str:public_id>/", sso_settings.set_break_glass, name="sso-owner"
    ),
    path("o/<slug:organization>/members/", members.member_list, name="member-list"),
    path("o/<slug:organization>/members/invite/", invitations.invite, name="member-invite"),
    path("o/<slug:organization>/members/leave/", members.leave, name="member-leave"),
    path("o/<slug:organization>/members/transfer/", members.transfer, name="ownership-transfer"),
    path("o/<slug:organization>/members/<str:public_id>/role/", members.role, name="member-role"),
    path("o/<slug:organization>/members/<str:public_id>/remove/", members.remove, name="member-remove"),
    path("o/<slug:organization>/invitations/<str:public_id>/resend/", invitations.resend, name="invitation-resend"),
    path("o/<slug:organization>/invitations/<str:public_id>/revoke/", invitations.revoke, name="invitation-revoke"),
    path("o/<slug:organization>/projects/", organizations.project_list, name="project-list"),
    path("o/<slug:organization>/projects/new/", organizations.project_create, name="project-create"),
    path("o/<slug:organization>/projects/<str:public_id>/", project_members.project_detail, name="project-detail"),
    path("o/<slug:organization>/projects/<str:public_id>/rename/", organizations.project_rename, name="project-rename"),
    path(
        "o/<slug:organization>/projects/<str:public_id>/members/", project_members.set_role, name="project-member-set"
    ),
    path(
        "o/<slug:organization>/projects/<str:public_id>/members/<str:member>/remove/",
        project_members.remove,
        name="project-member-remove",
    ),
    path("o/<slug:organization>/keys/", keys.key_list, name="key-list"),
    path("o/<slug:organization>/keys/new/", keys.key_create, name="key-create"),
    path("o/<slug:organization>/keys/<str:public_id>/", keys.key_detail, name="key-detail"),
    path("o/<slug:organization>/keys/<str:public_id>/change/", keys.key_change, name="key-change"),
    path("o/<slug:organization>/keys/<str:public_id>/rotate/", keys.key_rotate, name="key-rotate"),
    path("o/<slug:organization>/keys/<str:public_id>/revoke/", keys.key_revoke, name="key-revoke"),
    path("o/<slug:organization>/service-accounts/", service_accounts.service_account_list, name="service-account-list"),
    path(
        "o/<slug:organization>/service-accounts/new/",
        service_accounts.service_account_create,
        name="service-account-create",
    ),
    path(
        "o/<slug:organization>/service-accounts/<str:public_id>/",
        service_accounts.service_account_detail,
        name="service-account-detail",
    ),
    path(
        "o/<slug:organization>/service-accounts/<str:public_id>/disable/",
        service_accounts.service_account_disable,
        name="service-account-disable",
    ),
    path(
        "o/<slug:organization>/service-accounts/<str:public_id>/enable/",
        service_accounts.service_account_enable,
        name="service-account-enable",
    ),
    path(
        "o/<slug:organization>/service-accounts/<str:public_id>/delete/",
        service_accounts.service_account_delete,
        name="service-account-delete",
    ),
    path("o/<slug:organization>/audit-log/", audit.audit_log, name="audit-log"),
    path("o/<slug:organization>/audit-log/verify/", audit.audit_verify, name="audit-verify"),
    path("o/<slug:organization>/audit-log/export.csv", audit.audit_export, {"form": "csv"}, name="audit-csv"),
    path("o/<slug:organization>/audit-log/export.jsonl", audit.audit_export, {"form": "jsonl"}, name="audit-jsonl"),
    path("o/<slug:organization>/audit-log/endpoints/", audit_endpoints.endpoint_list, name="audit-endpoint-list"),
    path("o/<slug:organization>/audit-log/endpoints/new/", audit_endpoints.add, name="audit-endpoint-add"),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/",
        audit_endpoints.endpoint_detail,
        name="audit-endpoint-detail",
    ),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/change/",
        audit_endpoints.change,
        name="audit-endpoint-change",
    ),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/rotate/",
        audit_endpoints.rotate,
        name="audit-endpoint-rotate",
    ),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/test/",
        audit_endpoints.test,
        name="audit-endpoint-test",
    ),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/pause/",
        audit_endpoints.pause,
        name="audit-endpoint-pause",
    ),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/resume/",
        audit_endpoints.resume,
        name="audit-endpoint-resume",
    ),
    path(
        "o/<slug:organization>/audit-log/endpoints/<str:public_id>/remove/",
        audit_endpoints.remove,
        name="audit-endpoint-remove",
    ),
    path("o/<slug:organization>/data/delete/", closing.organization_delete, name="organization-delete"),
    path("o/<slug:organization>/data/keep/", closing.organization_keep, name="organization-keep"),
    path("api/v1/projects", projects_api.ProjectList.as_view(), name="api-project-list"),
    path("api/v1/keys", keys_api.KeyList.as_view(), name="api-key-list"),
    path("api/v1/service-accounts", service_accounts_api.ServiceAccountList.as_view(), name="api-service-account-list"),
    path(
        "api/v1/service-accounts/<str:public_id>",
        service_accounts_api.ServiceAccountDetail.as_view(),
        name="api-service-account-detail",
    ),
    path(
        "api/v1/service-accounts/<str:public_id>/disable",
        service_accounts_api.ServiceAccountDisabling.as_view(),
        name="api-service-account-disable",
    ),
    path(
        "api/v1/service-accounts/<str:public_id>/enable",
        service_accounts_api.ServiceAccountEnabling.as_view(),
        name="api-service-account-enable",
    ),
    path("api/v1/audit-events", audit_api.AuditEventList.as_view(), name="api-audit-event-list"),
    path("api/v1/leaked-keys", webhooks.leaked_keys, name="api-leaked-keys"),
    path("api/v1/keys/<str:public_id>", keys_api.KeyDetail.as_view(), name="api-key-detail"),
    path("api/v1/keys/<str:public_id>/rotate", keys_api.KeyRotation.as_view(), name="api-key-rotation"),
]
