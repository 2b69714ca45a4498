"""Addresses of this app. Customer pages start with o/<slug:organization>/."""

from django.urls import URLPattern, URLResolver, path

from accounts import webhooks
from accounts.api import audit as audit_api
from accounts.api import keys as keys_api
from accounts.api import projects as projects_api
from accounts.api import service_accounts as service_accounts_api
from accounts.views import (
    audit,
    closing,
    erasure,
    invitations,
    keys,
    members,
    organizations,
    project_members,
    service_accounts,
    sign_in,
)

app_name = "accounts"
urlpatterns: list[URLPattern | URLResolver] = [
    path("welcome/", sign_in.welcome, name="welcome"),
    path("confirm-it-is-you/", sign_in.reauthenticate_by_code, name="reauthenticate-by-code"),
    path("data/erase/", erasure.erase, name="erase"),
    path("organizations/", organizations.organization_list, name="organization-list"),
    path("o/<slug:organization>/settings/", organizations.organization_settings, name="organization-settings"),
    path("invitations/<str:token>/", invitations.invitation, name="invitation"),
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
