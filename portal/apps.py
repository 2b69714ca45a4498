from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig as DjangoStaticFilesConfig


class PortalConfig(AppConfig):
    name = "portal"
    default = True

    def ready(self) -> None:
        from portal import checks  # noqa: F401, PLC0415  # Django wants checks registered here


class StaticFilesConfig(DjangoStaticFilesConfig):
    # Files that no page of ours loads: REST framework's browsable API, and other versions of htmx.
    ignore_patterns = [
        *DjangoStaticFilesConfig.ignore_patterns,
        "rest_framework",
        "hx-*",
        "htm[ax]*-4*",
        "htmx-2-compat-4*",
    ]
