"""Web and gateway on one port, for development: `/v1/*` and streams go to the gateway before Django sees them."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django_application = get_asgi_application()

from inference.gateway.app import GatewayFront  # noqa: E402  # Django's apps must be loaded before our models

application = GatewayFront(behind=django_application)
