"""What every SCIM endpoint shares: the token, bodies in, answers and errors out."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpResponse
from pydantic import ValidationError
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView, set_rollback
from scim2_models import Error, SCIMException

from accounts.access import authenticate_directory, secret_in
from accounts.models import DirectoryToken, Organization
from accounts.scim.resources import PROVIDER
from accounts.services.directory_people import NO_SUCH_RECORD
from portal.lib.errors import DomainError

MEDIA_TYPE = "application/scim+json"
LARGEST_BODY = 256 * 1024
# Deeper than any resource or message of SCIM, and far from what would exhaust a stack.
DEEPEST_BODY = 12
# RFC 7644 names only some refusals; the sentence says the rest.
SCIM_TYPES = {
    "unusable_value": "invalidValue",
    "already_taken": "uniqueness",
    "unable_to_remove_member": "mutability",
}


class InvalidToken(exceptions.AuthenticationFailed):
    default_detail = "The directory token is missing, mistyped, expired or revoked. Make one on the Directory page."
    auth_header = 'Bearer realm="scim"'


class BodyTooLarge(exceptions.APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = f"A body has at most {LARGEST_BODY} bytes: send less, or split the request."


class AnyAccept(BaseContentNegotiation):
    """One form of answer, whatever a client says it would like."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], MEDIA_TYPE


class DirectoryRequest(Request):
    """A request of a directory that came through the door."""

    token: DirectoryToken
    organization: Organization


class DirectoryAPIView(APIView):
    """The base of every SCIM endpoint: a directory token as a bearer token, and the token's organization."""

    request: DirectoryRequest
    http_method_names = ("get", "head", "post", "put", "patch", "delete")
    content_negotiation_class = AnyAccept

    def get_authenticate_header(self, request: Request) -> str:
        # Without one, REST framework would turn 401 into 403.
        return InvalidToken.auth_header

    def get_exception_handler(self) -> Callable[..., Any]:
        return scim_response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        token = authenticate_directory(secret_in(request))
        if token is None:
            raise InvalidToken
        # From here on the request is a DirectoryRequest.
        request.token = token  # type: ignore[attr-defined]
        request.organization = token.organization  # type: ignore[attr-defined]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        # The library reads and writes under what this provider says, as it advises: once for a request.
        with PROVIDER:
            return super().dispatch(request, *args, **kwargs)


class MalformedBody(exceptions.ParseError):
    """The body is no JSON object, or none that we read."""

    scim_type = "invalidSyntax"


def body_in(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request carries.

    Raises BodyTooLarge, UnsupportedMediaType, and MalformedBody for anything else, of bottomless depth too.
    """
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if media_type not in (MEDIA_TYPE, "application/json"):
        raise exceptions.UnsupportedMediaType(media_type)
    if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST_BODY:
        raise BodyTooLarge
    try:
        body = json.loads(request.body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedBody("The body is no JSON.") from error
    if not isinstance(body, dict):
        raise MalformedBody("The body is a JSON object.")
    _check_depth(body)
    return body


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _check_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _depth in range(DEEPEST_BODY):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [inner for one in inside for inner in one]
    if level:
        raise MalformedBody("The body nests too deeply.")


def answer(payload: Mapping[str, Any], *, status: int = HTTPStatus.OK, location: str = "") -> HttpResponse:
    """Return a resource or a message."""
    # People's addresses are in no cache's keeping.
    headers = {"Cache-Control": "no-store"} | ({"Location": location} if location else {})
    return HttpResponse(json.dumps(payload), status=status, content_type=MEDIA_TYPE, headers=headers)


def scim_response(raised: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """Translate what a view raised into an error of RFC 7644, 3.12; None lets a bug become a 500."""
    # A refusal leaves nothing behind, whatever the view had done before it.
    set_rollback()
    match raised:
        case ValidationError():
            said = Error.from_validation_errors(raised)[0]
        case SCIMException(__cause__=ValidationError() as cause):
            said = Error.from_validation_errors(cause)[0]
        case SCIMException():
            said = raised.to_error()
        case DomainError():
            said = Error(status=raised.status, scim_type=SCIM_TYPES.get(raised.code), detail=str(raised))
        case exceptions.APIException():
            scim_type = getattr(raised, "scim_type", None)
            said = Error(status=raised.status_code, scim_type=scim_type, detail=str(raised.detail))
        case Http404():
            said = Error(status=HTTPStatus.NOT_FOUND, detail=NO_SUCH_RECORD)
        case _:
            return None
    response = answer(said.model_dump(), status=said.status or HTTPStatus.BAD_REQUEST)
    if header := getattr(raised, "auth_header", None):
        response["WWW-Authenticate"] = header
    return response
