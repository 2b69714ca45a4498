"""What SAML adds to single sign-on: our metadata, the address that answers are posted to, and the way on from there."""

from http import HTTPStatus
from urllib.parse import urlencode, urljoin

import structlog
from django.conf import settings
from django.core import signing
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from accounts.gateways import saml
from accounts.models import SsoConnection
from accounts.services.saml_sign_in import (
    TICKET_SECONDS,
    finish_saml_sign_in,
    receive_answer,
    take_answer,
)
from accounts.services.sso_sign_in import UnableToSignIn
from accounts.views.sso_door import connection_or_404, enter, refused, take_attempt
from portal.lib.http import PortalHttpRequest

log = structlog.get_logger(__name__)

REFUSAL = "accounts.saml.refusal"


def service_provider(slug: str) -> saml.ServiceProvider:
    """Return who we are to an organization's provider: each has its own, so that no answer fits another."""
    return saml.ServiceProvider(
        urljoin(settings.PORTAL_URL, reverse("accounts:saml-metadata", args=[slug])),
        urljoin(settings.PORTAL_URL, reverse("accounts:saml-acs", args=[slug])),
    )


@require_safe
def metadata(request: PortalHttpRequest, slug: str) -> HttpResponse:
    """Say who we are to the provider of an organization, before there is one.

    It is made from the address alone and the same for all, so that it tells nobody which organizations there are.
    """
    return HttpResponse(saml.our_metadata(service_provider(slug)), content_type="application/samlmetadata+xml")


# A form of another site posts here, which has no token of ours and brings no cookie; none is read and none is set. What
# it may bring is what an identity provider has signed, and it opens nothing but in the session that asked for it.
@csrf_exempt
@require_POST
def acs(request: PortalHttpRequest, slug: str) -> HttpResponse:
    """Take an answer (assertion consumer service) and go on, by a request that has the session's cookie."""
    connection = connection_or_404(slug, SsoConnection.Protocol.SAML)
    try:
        ticket = receive_answer(
            connection=connection,
            us=service_provider(slug),
            answer=request.POST.get("SAMLResponse", ""),
            relay_state=request.POST.get("RelayState", ""),
            now=timezone.now(),
        )
    except UnableToSignIn as error:
        log.warning("accounts.saml.answer_refused", connection=connection.public_id, reason=str(error))
        # A page of ours would set cookies, over those that did not come along. Signed, so that the words are ours.
        query = {"refusal": signing.dumps(str(error), salt=REFUSAL)}
    else:
        query = {"ticket": ticket}
    address = f"{reverse('accounts:saml-continue', args=[slug])}?{urlencode(query)}"
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


@require_safe
def go_on(request: PortalHttpRequest, slug: str) -> HttpResponse:
    """Take back whom the provider sent, once for each time that this browser was sent there."""
    connection = connection_or_404(slug, SsoConnection.Protocol.SAML)
    try:
        if refusal := request.GET.get("refusal", ""):
            return refused(request, connection, _words(refusal))
        answer = take_answer(connection=connection, ticket=request.GET.get("ticket", ""))
        begun = take_attempt(request, connection, answer.request_id)
        if begun is None or begun["secrets"].get("relay_state") != answer.relay_state:
            raise UnableToSignIn(_("This sign-in was not begun here, is too old, or was used already."))
        membership = finish_saml_sign_in(connection=connection, answer=answer, now=timezone.now())
    except UnableToSignIn as error:
        return refused(request, connection, str(error))
    return enter(request, membership, connection, begun["next"])


def _words(refusal: str) -> str:
    try:
        return str(signing.loads(refusal, salt=REFUSAL, max_age=TICKET_SECONDS))
    except signing.BadSignature:
        return _("Your identity provider did not let you in.")
