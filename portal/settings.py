"""Every setting, in sections. Values that differ between places come from the environment through portal.env."""

from pathlib import Path
from urllib.parse import urlsplit

from django.utils.csp import CSP

from portal import env
from portal.logs import configure_structlog, logging_config
from portal.schedule import SCHEDULE

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var")))

# --- The place ------------------------------------------------------------------------------------

# Development mode: plain-name cookies on http, mail into var/mail, the local engine, /ui/ and /dev/mail/.
DEVELOPMENT = env.flag("DEVELOPMENT", False)
# Django's technical error pages; a portal that people click through shows them ours, in development too.
DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.secret("SECRET_KEY")
PORTAL_URL = env.text("PORTAL_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "127.0.0.1,localhost")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", PORTAL_URL)
PORTAL_BRAND = env.text("PORTAL_BRAND", "Headroom")
# Where weaknesses are reported, as /.well-known/security.txt says: a mailto: or https: address.
SECURITY_CONTACT = env.text("SECURITY_CONTACT", f"mailto:security@{urlsplit(PORTAL_URL).hostname}")
KEY_BRAND = env.text("KEY_BRAND", "hr")
# HMAC key for API-key digests: changing it invalidates every key.
API_KEY_PEPPER = env.secret("API_KEY_PEPPER")
# Keys that wrap the keys of stored secrets, newest first, 32 random bytes each in base64: docs/how-to/rotate-keys.md.
KEY_ENCRYPTION_KEYS = env.names("KEY_ENCRYPTION_KEYS")
# Whose reports of leaked keys are believed: secret scanners, as id:public key (Ed25519 or P-256, DER in base64).
LEAK_REPORT_PUBLIC_KEYS = env.names("LEAK_REPORT_PUBLIC_KEYS")
# Where the daily digests of audit logs are kept; in production a place that cannot be rewritten.
AUDIT_ANCHOR_DIR = Path(env.text("AUDIT_ANCHOR_DIR", str(VAR_DIR / "audit")))
STARTER_CREDIT_USD = env.decimal("STARTER_CREDIT_USD", "5")
FRAUD_REFUND_UP_TO_USD = env.decimal("FRAUD_REFUND_UP_TO_USD", "0")
# Who sells, as invoices say it: name, address on one line, country (two letters; none: no tax), tax id; and what
# the numbers of its invoices begin with.
SELLER_NAME = env.text("SELLER_NAME", PORTAL_BRAND)
SELLER_ADDRESS = env.text("SELLER_ADDRESS", "")
SELLER_COUNTRY = env.text("SELLER_COUNTRY", "")
SELLER_TAX_ID = env.text("SELLER_TAX_ID", "")
INVOICE_PREFIX = env.text("INVOICE_PREFIX", "HR")

# --- Applications ---------------------------------------------------------------------------------

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
INSTALLED_APPS = [
    "portal",
    "inference",
    "compute",
    "billing",
    "catalog",
    "accounts",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.google",
    "allauth.usersessions",
    "django_cotton",
    "django_htmx",
    "lucide",
    "rest_framework",
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "portal.apps.StaticFilesConfig",
]
MIDDLEWARE = [
    "portal.lib.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    # Before whatever answers by itself: a static file or a refused host is not to be framed either.
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "portal.lib.sessions.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.lib.middleware.UserSessionsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.lib.template_context.portal",
                "portal.shell.shell",
            ],
            "builtins": ["portal.templatetags.portal"],
        },
    }
]

# --- Data -----------------------------------------------------------------------------------------

# One database, four roles; what each may do: deploy/database-roles.sql and portal/lib/tenancy.py.
DATABASES = {
    "default": env.database("DATABASE_URL")
    | {"ATOMIC_REQUESTS": True, "CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True},
    "owner": env.database("DATABASE_OWNER_URL"),
    "platform": env.database("DATABASE_PLATFORM_URL") | {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True},
    "gateway": env.database("DATABASE_GATEWAY_URL") | {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True},
}
# True where the roles share one connection and one transaction (tests): see portal.lib.tenancy.
ONE_DATABASE_CONNECTION = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.text("REDIS_URL")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# --- Sign-in --------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "accounts:welcome"
LOGOUT_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*"]
ACCOUNT_FORMS = {"login": "accounts.adapter.SignInForm", "set_password": "accounts.adapter.FirstPasswordForm"}
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.forms.SignupForm"
ACCOUNT_SESSION_REMEMBER = True
# Every code that we mail: six digits, three tries, ten minutes at the most (ASVS 6.5.5).
ALLAUTH_USER_CODE_FORMAT = {"numeric": True, "length": 6, "dashed": False}
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_TIMEOUT = 600
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = 600
ACCOUNT_LOGIN_BY_CODE_SUPPORTS_RESEND = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 600
ACCOUNT_PREVENT_ENUMERATION = "strict"
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = f"[{PORTAL_BRAND}] "
ACCOUNT_LOGOUT_ON_GET = False
ALLAUTH_TRUSTED_PROXY_COUNT = env.number("TRUSTED_PROXY_COUNT", 0)
USERSESSIONS_TRACK_ACTIVITY = True
MFA_ADAPTER = "accounts.adapter.MFAAdapter"
MFA_FORMS = {
    "login_webauthn": "accounts.adapter.PasskeyForm",
    "authenticate_webauthn": "accounts.adapter.SecondFactorForm",
    "reauthenticate": "accounts.adapter.CodeProofForm",
    "reauthenticate_webauthn": "accounts.adapter.ProofForm",
    "add_webauthn": "accounts.adapter.NewSecurityKeyForm",
    "edit_webauthn": "accounts.adapter.PasskeyNameForm",
    "signup_webauthn": "accounts.adapter.FirstPasskeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = PORTAL_BRAND
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_PASSKEY_SIGNUP_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEVELOPMENT
# Fernet keys of second factors stored before KEY_ENCRYPTION_KEYS; none once `rotate_secrets` has been through.
MFA_ENCRYPTION_KEYS = env.names("MFA_ENCRYPTION_KEYS")

# Signing in with an account elsewhere, each where its client is configured; others have no button and no address.
_SOCIAL_CLIENTS = {
    "github": (env.text("GITHUB_CLIENT_ID", ""), env.secret("GITHUB_CLIENT_SECRET", ""), ["user:email"]),
    "google": (env.text("GOOGLE_CLIENT_ID", ""), env.secret("GOOGLE_CLIENT_SECRET", ""), ["email"]),
}
SOCIALACCOUNT_PROVIDERS = {
    name: {"APPS": [{"client_id": client_id, "secret": secret}], "SCOPE": scope, "OAUTH_PKCE_ENABLED": True}
    for name, (client_id, secret, scope) in _SOCIAL_CLIENTS.items()
    if client_id
}
# Both verify addresses: one that they have verified leads to the account that has proved it too, and stays tied to it.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_STORE_TOKENS = False
# Who is asked for the records by which domains are verified, as address or address:port; the machine's own otherwise.
DNS_RESOLVERS = env.names("DNS_RESOLVERS")

# --- Browser --------------------------------------------------------------------------------------

SECURE_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "object-src": [CSP.NONE],
    "require-trusted-types-for": ["'script'"],
    # htmx needs a pass-through `default` policy for HTML alone (static/js/boot.js); script sinks stay closed.
    "trusted-types": ["htmx", "default"],
    # Where browsers tell of what it stopped: the new way, named in a header of portal.lib.middleware, and the old one.
    "report-to": ["csp"],
    "report-uri": ["/csp-reports"],
}
_COOKIE_PREFIX = "" if DEVELOPMENT else "__Host-"
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}session"
SESSION_COOKIE_SECURE = not DEVELOPMENT
SESSION_ENGINE = "portal.lib.sessions"
# From the sign-in on, whatever happens meanwhile; and from the last use on, if that is sooner (portal.lib.sessions).
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_IDLE_SECONDS = env.number("SESSION_IDLE_SECONDS", 7 * 24 * 3600)
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrf"
CSRF_COOKIE_SECURE = not DEVELOPMENT
CSRF_COOKIE_HTTPONLY = True
MESSAGE_STORAGE = "portal.lib.messages.MessageStorage"
MESSAGE_COOKIE_NAME = f"{_COOKIE_PREFIX}messages"
CSRF_FAILURE_VIEW = "portal.views.csrf_failure"
SECURE_SSL_REDIRECT = not DEVELOPMENT
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ALLAUTH_TRUSTED_PROXY_COUNT else None
SECURE_HSTS_SECONDS = 0 if DEVELOPMENT else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEVELOPMENT
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- Words and files ------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(VAR_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Kept as long as the invoices: in production a place that is backed up.
    "invoice_files": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": env.text("INVOICE_FILES_DIR", str(VAR_DIR / "invoice-files"))},
    },
    "staticfiles": {"BACKEND": "portal.lib.static_files.HashedStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
# No other site has a use for them.
WHITENOISE_ALLOW_ALL_ORIGINS = False
MAIL_DIR = VAR_DIR / "mail"
MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": env.text("EMAIL_HOST", "localhost"),
            "port": env.number("EMAIL_PORT", 25),
            "username": env.text("EMAIL_USER", ""),
            "password": env.secret("EMAIL_PASSWORD", ""),
            "use_tls": env.flag("EMAIL_TLS", False),
            # What is mailed is locked meanwhile.
            "timeout": 10,
        },
    }
}
if DEVELOPMENT:
    MAILERS = {
        "default": {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": MAIL_DIR},
        }
    }
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", f"{PORTAL_BRAND} <no-reply@localhost>")

# --- Workers --------------------------------------------------------------------------------------

# Why each value: docs/adr/0006-celery-is-a-hint.md. Recovery comes from the sweep over rows, not from redelivery.
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_SOFT_TIME_LIMIT = 60
CELERY_TASK_TIME_LIMIT = 90
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 0.5,
    "socket_timeout": 5,
    # One more try at once and no more: kombu's own back-off kept a page for six seconds while the broker was down.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
CELERY_BEAT_SCHEDULE = SCHEDULE
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- Programs -------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.lib.parsers.BodyParser"],
    "EXCEPTION_HANDLER": "portal.lib.api.problem_response",
    "UNAUTHENTICATED_USER": None,
}
MODEL_UPSTREAM_URL = env.text("MODEL_UPSTREAM_URL", "http://127.0.0.1:8001")
MODEL_UPSTREAM_KEY = env.secret("MODEL_UPSTREAM_KEY", "")
# How long a model server may stay silent before its caller is told that it hangs.
MODEL_UPSTREAM_TIMEOUT_SECONDS = env.number("MODEL_UPSTREAM_TIMEOUT_SECONDS", 120)
# The payment provider. Without a key nothing is sold for money; the address is for the demonstration's double.
STRIPE_SECRET_KEY = env.secret("STRIPE_SECRET_KEY", "")
STRIPE_API_URL = env.text("STRIPE_API_URL", "")
# Of the webhook's endpoint; two while they are exchanged.
STRIPE_WEBHOOK_SECRETS = env.names("STRIPE_WEBHOOK_SECRETS")
LOCAL_ENGINE_DIR = VAR_DIR / "instances"
# What a pool may name as its engine -> what makes it. The local one refuses to start outside development.
PROVISIONING_BACKENDS = {"local": "compute.backends.local.make_backend"}

# --- Logs -----------------------------------------------------------------------------------------

LOG_JSON = env.flag("LOG_JSON", not DEVELOPMENT)
LOGGING = logging_config(as_json=LOG_JSON)
configure_structlog()
