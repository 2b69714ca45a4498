"""Who may reach which route: one line each. A route without a line fails tests/test_tenancy.py.

A page of an organization names its permission, a view of /api/v1 its scope (None: any key), and both say which
object of tests/world.py fills each part of the address.
"""

from dataclasses import dataclass, field
from enum import Enum

from accounts.models import Permission, Scope


class Audience(Enum):
    """Who else there is, where no organization is in the address."""

    ANYBODY = "anybody"
    VISITOR = "people who have not signed in; others are sent on"
    SIGNED_IN = "people who have signed in"
    STAFF = "staff"
    KEY = "any API key"
    OPERATOR = "an operator key"
    DIRECTORY = "a directory token"
    SIGNED = "a provider whose signature is checked"
    BROWSER = "browsers by themselves, without a form"


@dataclass(frozen=True, slots=True)
class Rule:
    who: Permission | Scope | Audience
    # Part of the address -> word of OBJECTS, PERSONAL_OBJECTS or PUBLIC_OBJECTS.
    objects: dict[str, str] = field(default_factory=dict)


def of(who: Permission | Scope | Audience, **objects: str) -> Rule:
    return Rule(who, objects)


ANYBODY = of(Audience.ANYBODY)
VISITOR = of(Audience.VISITOR)
SIGNED_IN = of(Audience.SIGNED_IN)
DIRECTORY = of(Audience.DIRECTORY)

POLICY: dict[str, Rule] = {
    "home": ANYBODY,
    "healthz": ANYBODY,
    "readyz": ANYBODY,
    "robots-txt": ANYBODY,
    "security-txt": ANYBODY,
    "csp-reports": of(Audience.BROWSER),
    "api-document": ANYBODY,
    "component-gallery": ANYBODY,  # development only
    "dev-mail": ANYBODY,  # development only
    "dev-mail-file": of(Audience.ANYBODY, file="mail"),  # development only
    # --- django-allauth ---
    "account_login": VISITOR,
    "account_logout": ANYBODY,
    "account_inactive": ANYBODY,
    "account_signup": VISITOR,
    "account_signup_by_passkey": VISITOR,
    "account_request_login_code": VISITOR,
    "account_confirm_login_code": VISITOR,
    "account_email_verification_sent": ANYBODY,  # new addresses are confirmed there too
    "account_reset_password": ANYBODY,
    "account_confirm_password_reset_code": ANYBODY,
    "account_complete_password_reset": ANYBODY,
    "account_password_reset_completed": ANYBODY,
    "account_reauthenticate": SIGNED_IN,
    "account_email": SIGNED_IN,
    "account_change_password": SIGNED_IN,
    "account_set_password": SIGNED_IN,
    "mfa_index": SIGNED_IN,
    "mfa_authenticate": VISITOR,
    "mfa_reauthenticate": SIGNED_IN,
    "mfa_activate_totp": SIGNED_IN,
    "mfa_deactivate_totp": SIGNED_IN,
    "mfa_view_recovery_codes": SIGNED_IN,
    "mfa_generate_recovery_codes": SIGNED_IN,
    "mfa_download_recovery_codes": SIGNED_IN,
    "mfa_list_webauthn": SIGNED_IN,
    "mfa_add_webauthn": SIGNED_IN,
    "mfa_reauthenticate_webauthn": SIGNED_IN,
    "mfa_remove_webauthn": of(Audience.SIGNED_IN, pk="passkey"),
    "mfa_edit_webauthn": of(Audience.SIGNED_IN, pk="passkey"),
    "mfa_login_webauthn": VISITOR,
    "mfa_signup_webauthn": VISITOR,
    "usersessions_list": SIGNED_IN,
    "socialaccount_connections": SIGNED_IN,
    "socialaccount_signup": VISITOR,
    "socialaccount_login_cancelled": ANYBODY,
    "socialaccount_login_error": ANYBODY,
    "github_callback": ANYBODY,
    "google_callback": ANYBODY,
    # --- accounts ---
    "accounts:welcome": SIGNED_IN,
    "accounts:reauthenticate-by-code": SIGNED_IN,
    "accounts:erase": SIGNED_IN,
    "accounts:organization-list": SIGNED_IN,
    "accounts:organization-settings": of(Permission.MANAGE_ORGANIZATION),
    "accounts:invitation": of(Audience.SIGNED_IN, token="invitation_token"),
    "accounts:organization-delete": of(Permission.OWN),
    "accounts:organization-keep": of(Permission.OWN),
    "accounts:domain-join": of(Audience.SIGNED_IN, public_id="join_offer"),
    "accounts:domain-list": of(Permission.MANAGE_ORGANIZATION),
    "accounts:domain-detail": of(Permission.MANAGE_ORGANIZATION, public_id="domain"),
    "accounts:domain-verify": of(Permission.MANAGE_ORGANIZATION, public_id="domain"),
    "accounts:domain-remove": of(Permission.MANAGE_ORGANIZATION, public_id="domain"),
    "accounts:social-begin": of(Audience.ANYBODY, provider="social_provider"),
    "accounts:sso-entry": ANYBODY,
    "accounts:sso-organization": of(Audience.ANYBODY, slug="sso_slug"),
    "accounts:sso-callback": of(Audience.ANYBODY, slug="sso_slug"),
    "accounts:saml-metadata": of(Audience.ANYBODY, slug="sso_slug"),
    "accounts:saml-acs": of(Audience.SIGNED, slug="saml_slug"),
    "accounts:saml-continue": of(Audience.ANYBODY, slug="saml_slug"),
    "accounts:sso-break-glass": of(Audience.SIGNED_IN, slug="locked_slug"),
    "accounts:sso-settings": of(Permission.MANAGE_SIGN_ON),
    "accounts:sso-saml": of(Permission.MANAGE_SIGN_ON),
    "accounts:sso-remove": of(Permission.MANAGE_SIGN_ON),
    "accounts:sso-require": of(Permission.MANAGE_SIGN_ON),
    "accounts:sso-make-optional": of(Permission.MANAGE_SIGN_ON),
    "accounts:sso-owner": of(Permission.MANAGE_SIGN_ON, public_id="owner"),
    "accounts:directory": of(Permission.MANAGE_MEMBERS),
    "accounts:directory-token-revoke": of(Permission.MANAGE_MEMBERS, public_id="directory_token"),
    "accounts:directory-group-role": of(Permission.MANAGE_MEMBERS, public_id="directory_group"),
    "accounts:scim-user-list": DIRECTORY,
    "accounts:scim-user-search": DIRECTORY,
    "accounts:scim-user-detail": of(Audience.DIRECTORY, public_id="directory_person"),
    "accounts:scim-group-list": DIRECTORY,
    "accounts:scim-group-search": DIRECTORY,
    "accounts:scim-group-detail": of(Audience.DIRECTORY, public_id="directory_group"),
    "accounts:scim-config": DIRECTORY,
    "accounts:scim-schema-list": DIRECTORY,
    "accounts:scim-schema-detail": DIRECTORY,
    "accounts:scim-resource-type-list": DIRECTORY,
    "accounts:scim-resource-type-detail": DIRECTORY,
    "accounts:scim-nowhere": DIRECTORY,
    "accounts:member-list": of(Permission.VIEW),
    "accounts:member-invite": of(Permission.MANAGE_MEMBERS),
    "accounts:member-leave": of(Permission.VIEW),
    "accounts:member-role": of(Permission.MANAGE_MEMBERS, public_id="member"),
    "accounts:member-remove": of(Permission.MANAGE_MEMBERS, public_id="member"),
    "accounts:ownership-transfer": of(Permission.OWN),
    "accounts:invitation-resend": of(Permission.MANAGE_MEMBERS, public_id="invitation"),
    "accounts:invitation-revoke": of(Permission.MANAGE_MEMBERS, public_id="invitation"),
    "accounts:project-list": of(Permission.VIEW),
    "accounts:project-create": of(Permission.MANAGE_PROJECTS),
    "accounts:project-detail": of(Permission.VIEW, public_id="project"),
    "accounts:project-member-set": of(Permission.MANAGE_PROJECT_MEMBERS, public_id="project"),
    "accounts:project-member-remove": of(Permission.MANAGE_PROJECT_MEMBERS, public_id="project", member="member"),
    "accounts:project-rename": of(Permission.MANAGE_PROJECTS, public_id="project"),
    "accounts:rate-limit-list": of(Permission.VIEW),
    "accounts:rate-limit-of-project": of(Permission.MANAGE_PROJECTS, public_id="project"),
    "accounts:rate-limit-of-key": of(Permission.MANAGE_KEYS, public_id="key"),
    "accounts:audit-log": of(Permission.VIEW_AUDIT_LOG),
    "accounts:audit-verify": of(Permission.VIEW_AUDIT_LOG),
    "accounts:audit-csv": of(Permission.VIEW_AUDIT_LOG),
    "accounts:audit-jsonl": of(Permission.VIEW_AUDIT_LOG),
    "accounts:audit-endpoint-list": of(Permission.MANAGE_ORGANIZATION),
    "accounts:audit-endpoint-add": of(Permission.MANAGE_ORGANIZATION),
    "accounts:audit-endpoint-detail": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:audit-endpoint-change": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:audit-endpoint-rotate": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:audit-endpoint-test": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:audit-endpoint-pause": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:audit-endpoint-resume": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:audit-endpoint-remove": of(Permission.MANAGE_ORGANIZATION, public_id="audit_endpoint"),
    "accounts:key-list": of(Permission.VIEW),
    "accounts:key-create": of(Permission.MANAGE_KEYS),
    "accounts:key-detail": of(Permission.VIEW, public_id="key"),
    "accounts:key-change": of(Permission.MANAGE_KEYS, public_id="key"),
    "accounts:key-rotate": of(Permission.MANAGE_KEYS, public_id="key"),
    "accounts:key-revoke": of(Permission.MANAGE_KEYS, public_id="key"),
    "accounts:service-account-list": of(Permission.VIEW),
    "accounts:service-account-create": of(Permission.MANAGE_SERVICE_ACCOUNTS),
    "accounts:service-account-detail": of(Permission.VIEW, public_id="service_account"),
    "accounts:service-account-disable": of(Permission.MANAGE_SERVICE_ACCOUNTS, public_id="service_account"),
    "accounts:service-account-enable": of(Permission.MANAGE_SERVICE_ACCOUNTS, public_id="service_account"),
    "accounts:service-account-delete": of(Permission.MANAGE_SERVICE_ACCOUNTS, public_id="service_account"),
    "accounts:api-service-account-list": of(Scope.KEYS_WRITE),
    "accounts:api-service-account-detail": of(Scope.KEYS_WRITE, public_id="service_account"),
    "accounts:api-service-account-disable": of(Scope.KEYS_WRITE, public_id="service_account"),
    "accounts:api-service-account-enable": of(Scope.KEYS_WRITE, public_id="service_account"),
    "accounts:api-audit-event-list": of(Scope.AUDIT_READ),
    "accounts:api-leaked-keys": of(Audience.SIGNED),
    "accounts:api-project-list": of(Audience.KEY),
    "accounts:api-key-list": of(Scope.KEYS_WRITE),
    "accounts:api-key-detail": of(Scope.KEYS_WRITE, public_id="key"),
    "accounts:api-key-rotation": of(Scope.KEYS_WRITE, public_id="key"),
    # --- inference ---
    "inference:project-region": of(Permission.MANAGE_PROJECTS, public_id="project"),
    "inference:receipt-list": of(Permission.VIEW),
    "inference:receipt-detail": of(Permission.VIEW, request_id="receipt"),
    "inference:api-receipt-detail": of(Scope.USAGE_READ, request_id="receipt"),
    # --- catalog: the price list is public ---
    "catalog:model-list": ANYBODY,
    "catalog:model-detail": of(Audience.ANYBODY, name="model"),
    "catalog:pricing": ANYBODY,
    "catalog:price-history": of(Audience.ANYBODY, sku="sku"),
    "catalog:rate-card": ANYBODY,
    "catalog:llms-txt": ANYBODY,
    "catalog:api-model-list": ANYBODY,
    "catalog:api-model-detail": ANYBODY,
    "catalog:api-price-list": ANYBODY,
    "catalog:api-price-history": ANYBODY,
    # --- billing ---
    "billing:spend": of(Permission.VIEW_SPEND),
    "billing:usage-csv": of(Permission.VIEW_SPEND),
    "billing:usage-jsonl": of(Permission.VIEW_SPEND),
    "billing:anomaly-mails": of(Permission.MANAGE_BILLING),
    "billing:tag-list": of(Permission.VIEW_SPEND),
    "billing:project-tags": of(Permission.MANAGE_BILLING, public_id="project"),
    "billing:spend-focus": of(Permission.VIEW_SPEND),
    "billing:details": of(Permission.MANAGE_BILLING),
    "billing:cap-list": of(Permission.VIEW_SPEND),
    "billing:cap-create": of(Permission.MANAGE_BILLING),
    "billing:cap-change": of(Permission.MANAGE_BILLING, public_id="cap"),
    "billing:cap-remove": of(Permission.MANAGE_BILLING, public_id="cap"),
    "billing:credit": of(Permission.VIEW_SPEND),
    "billing:top-up": of(Permission.MANAGE_BILLING),
    "billing:debt-pay": of(Permission.MANAGE_BILLING),
    "billing:payment-detail": of(Permission.VIEW_SPEND, public_id="payment"),
    "billing:payment-checkout": of(Permission.MANAGE_BILLING, public_id="payment"),
    "billing:payment-cancel": of(Permission.MANAGE_BILLING, public_id="payment"),
    "billing:payment-refund": of(Permission.MANAGE_BILLING, public_id="payment"),
    "billing:card-list": of(Permission.VIEW_SPEND),
    "billing:card-add": of(Permission.MANAGE_BILLING),
    "billing:card-page": of(Permission.MANAGE_BILLING),
    "billing:customer-portal": of(Permission.MANAGE_BILLING),
    "billing:card-default": of(Permission.MANAGE_BILLING, public_id="card"),
    "billing:card-remove": of(Permission.MANAGE_BILLING, public_id="card"),
    "billing:payment-again": of(Permission.MANAGE_BILLING, public_id="payment"),
    "billing:auto-reload": of(Permission.MANAGE_BILLING),
    "billing:stripe-webhook": of(Audience.SIGNED),
    "billing:invoice-list": of(Permission.VIEW_SPEND),
    "billing:invoice-detail": of(Permission.VIEW_SPEND, public_id="invoice"),
    "billing:invoice-pay": of(Permission.MANAGE_BILLING, public_id="invoice"),
    "billing:invoice-pdf": of(Permission.VIEW_SPEND, public_id="invoice"),
    "billing:invoice-export": of(Permission.VIEW_SPEND, public_id="invoice"),
    "billing:invoice-focus": of(Permission.VIEW_SPEND, public_id="invoice"),
    "billing:api-key": of(Audience.KEY),
    "billing:api-usage": of(Scope.USAGE_READ),
    "billing:api-spend": of(Scope.BILLING_READ),
    "billing:api-project-tags": of(Scope.BILLING_READ),
    "billing:api-cap-list": of(Scope.BILLING_READ),
    "billing:api-key-cap": of(Scope.KEYS_WRITE, public_id="key"),
    "inference:operator-deployments": of(Audience.OPERATOR),
    "inference:operator-deployment-offer": of(Audience.OPERATOR, public_id="deployment"),
    "billing:operator-usage": of(Audience.OPERATOR),
    "billing:operator-usage-fate": of(Audience.OPERATOR),
    "billing:verify-invoice": ANYBODY,
    "billing:api-invoice-list": of(Scope.BILLING_READ),
    # --- portal: the first pages of an organization ---
    "overview": of(Permission.VIEW),
    "quickstart": of(Permission.USE_MODELS),
    "quickstart-key": of(Permission.MANAGE_KEYS),
    "quickstart-run": of(Permission.USE_MODELS),
    "organization-data": of(Permission.OWN),
    "organization-export": of(Permission.OWN),
    "your-data": SIGNED_IN,
    "your-export": SIGNED_IN,
    # --- compute ---
    "compute:instance-type-list": ANYBODY,
    "compute:instance-type-detail": of(Audience.ANYBODY, name="instance_type"),
    "compute:instance-list": of(Permission.VIEW),
    "compute:instance-status": of(Permission.VIEW),
    "compute:instance-launch": of(Permission.MANAGE_INSTANCES),
    "compute:instance-detail": of(Permission.VIEW, public_id="instance"),
    "compute:instance-stop": of(Permission.MANAGE_INSTANCES, public_id="instance"),
    "compute:instance-start": of(Permission.MANAGE_INSTANCES, public_id="instance"),
    "compute:instance-restart": of(Permission.MANAGE_INSTANCES, public_id="instance"),
    "compute:instance-terminate": of(Permission.MANAGE_INSTANCES, public_id="instance"),
    "compute:api-instance-type-list": of(Scope.INSTANCES_READ),
    "compute:api-launch": of(Scope.INSTANCES_WRITE),
    "compute:api-terminate": of(Scope.INSTANCES_WRITE),
    "compute:api-restart": of(Scope.INSTANCES_WRITE),
    "compute:api-instance-list": of(Scope.INSTANCES_READ),
    "compute:api-instance-detail": of(Scope.INSTANCES_READ, public_id="instance"),
    "compute:api-ssh-key-list": of(Scope.INSTANCES_WRITE),
    "compute:api-ssh-key-detail": of(Scope.INSTANCES_WRITE, public_id="ssh_key"),
    "compute:api-image-list": of(Scope.INSTANCES_READ),
    "compute:ssh-key-list": of(Permission.VIEW),
    "compute:ssh-key-create": of(Permission.MANAGE_INSTANCES),
    "compute:ssh-key-delete": of(Permission.MANAGE_INSTANCES, public_id="ssh_key"),
}
# Whole families by the start of their names.
FAMILIES: dict[str, Rule] = {"admin:": of(Audience.STAFF)}
