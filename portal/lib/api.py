"""The REST API's common shapes: problem+json errors, msgspec answers, cursor lists (contracts 2 and 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpResponse, QueryDict
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from portal.lib.errors import DomainError

PROBLEM = "application/problem+json"
_encoder = msgspec.json.Encoder(decimal_format="string")


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with one field. pointer: a JSON pointer to it."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal (RFC 9457). errors: which fields need another value, when that is why."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: Sequence[Wrong] = ()


@dataclass(frozen=True, slots=True)
class LambdaErrorText:
    code: str
    message: str
    suggestion: str | None


@dataclass(frozen=True, slots=True)
class LambdaError:
    """A refusal in the shape of the Lambda Cloud API."""

    error: LambdaErrorText


class JsonResponse(HttpResponse):
    """Encode frozen dataclasses (money as decimal strings, times RFC 3339) with msgspec."""

    def __init__(self, data: object, *, status: int = HTTPStatus.OK, content_type: str = "application/json") -> None:
        super().__init__(_encoder.encode(data), status=status, content_type=content_type)


def problem(
    status: int, code: str, detail: str, *, request_id: str = "", errors: Sequence[Mapping[str, str]] = ()
) -> JsonResponse:
    """Return an RFC 9457 answer. errors: pairs of `pointer` (JSON pointer of the field) and `detail`."""
    body: dict[str, object] = {
        "type": f"/docs/errors#{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = list(errors)
    return JsonResponse(body, status=status, content_type=PROBLEM)


class BodyTooLarge(exceptions.APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "request_too_large"
    default_detail = "The body is too large. Send less, or split the request."


def _translated(error: Exception) -> Exception:
    return BodyTooLarge() if isinstance(error, RequestDataTooBig) else error


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | HttpResponse | None:
    """Translate what a view raised; DRF's EXCEPTION_HANDLER. None lets a bug become a 500."""
    # A refusal leaves nothing behind, whatever the view had done before it.
    set_rollback()
    request_id = getattr(getattr(context.get("request"), "_request", None), "request_id", "")
    match _translated(error):
        case DomainError() as error:
            return problem(error.status, error.code, str(error), request_id=request_id)
        case exceptions.ValidationError() as error:
            return problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "invalid_parameters",
                "Some fields need another value; `errors` says which.",
                request_id=request_id,
                errors=list(_pointers(error.detail)),
            )
        case exceptions.APIException() as error:
            code = error.get_codes()
            response = problem(
                error.status_code,
                code if isinstance(code, str) else "error",
                str(error.detail),
                request_id=request_id,
            )
            if header := getattr(error, "auth_header", None):
                response["WWW-Authenticate"] = header
            if wait := getattr(error, "wait", None):
                response["Retry-After"] = str(int(wait))
            return response
        case Http404():
            return problem(
                HTTPStatus.NOT_FOUND,
                "object_does_not_exist",
                "There is no such object.",
                request_id=request_id,
            )
        case PermissionDenied() as error:
            return problem(
                HTTPStatus.FORBIDDEN, "forbidden", str(error) or "This key may not do that.", request_id=request_id
            )
    return None


class Body(serializers.Serializer[Any]):
    """The base of what programs send as JSON: a value of another type than its field's is refused, never converted.

    REST framework would read 5 as "5", "5" as 5 and an object as the list of its names.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and not isinstance(data, QueryDict):
            given = ((name, field, data[name]) for name, field in self.fields.items() if name in data)
            wrong = {name: [text] for name, field, value in given if (text := _wrong_type(field, value))}
            if wrong:
                raise exceptions.ValidationError(wrong)
        return super().to_internal_value(data)


def _wrong_type(field: Any, value: object) -> str:
    """Say what the field wants instead of the value; nothing where the type is right."""
    match field:
        case _ if value is None:
            return ""
        case serializers.IntegerField():
            is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return "" if is_whole and not isinstance(value, bool) else "Give a whole number."
        case serializers.CharField() | serializers.DateTimeField():
            return "" if isinstance(value, str) else "Give a string."
        case serializers.ListField() | serializers.MultipleChoiceField():
            if not isinstance(value, list):
                return "Give a list."
            inner = getattr(field, "child", None)
            return next((text for each in value if (text := _wrong_type(inner, each))), "")
    return ""


DEFAULT_LIMIT = 50
MAXIMUM_LIMIT = 200


@dataclass(frozen=True, slots=True)
class CursorList[Row]:
    """One page of a list, as every list of ours answers; `next_cursor` goes into `after` for the next page."""

    data: list[Row]
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Cut[Object: Model]:
    """The objects of one page of a list and where the next begins."""

    objects: list[Object]
    has_more: bool
    next_cursor: str | None

    def of[Row](self, rows: Sequence[Row]) -> CursorList[Row]:
        """Return the page's answer. rows: what each object is outside, in the same order."""
        return CursorList(list(rows), self.has_more, self.next_cursor)


_LIMIT_TEXT = f"Give a whole number from 1 to {MAXIMUM_LIMIT}."


class PageInput(serializers.Serializer[Any]):
    """Where in a list, and how much of it."""

    limit = serializers.IntegerField(
        min_value=1,
        max_value=MAXIMUM_LIMIT,
        default=DEFAULT_LIMIT,
        help_text="objects per page",
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value", "max_string_length"), _LIMIT_TEXT),
    )
    after = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="the `next_cursor` of the page before"
    )


def query_of(request: Request) -> dict[str, str]:
    """Return what an address asks for; an empty value is not a missing one."""
    query: dict[str, str] = request.query_params.dict()
    return query


def cut[Object: Model](objects: QuerySet[Object], query: Mapping[str, str]) -> Cut[Object]:
    """Return the page of `objects` that a request's query asks for, in the order (created_at, id).

    objects: of a model with `created_at` and `public_id`, which is the cursor: `after` names the last object
    seen, and rows that come or go in between move no other. Raises ValidationError for a limit outside 1 to
    200, or a cursor that is no object of the list.
    """
    given = PageInput(data=query)
    given.is_valid(raise_exception=True)
    limit: int = given.validated_data["limit"]
    if after := given.validated_data.get("after"):
        last = objects.filter(public_id=after).values_list("created_at", "pk").first()
        if last is None:
            raise exceptions.ValidationError({"after": "This is no `next_cursor` of this list."})
        created_at, pk = last
        objects = objects.filter(Q(created_at__gt=created_at) | Q(created_at=created_at, pk__gt=pk))
    found = list(objects.order_by("created_at", "pk")[: limit + 1])
    has_more = len(found) > limit
    found = found[:limit]
    # Every model in a list has a public id (above), which Model itself does not know.
    next_cursor = found[-1].public_id if has_more else None  # type: ignore[attr-defined]
    return Cut(found, has_more, next_cursor)


def _pointers(detail: Any, path: str = "") -> list[dict[str, str]]:
    if isinstance(detail, Mapping):
        return [found for name, inner in detail.items() for found in _pointers(inner, f"{path}/{name}")]
    if isinstance(detail, list):
        return [
            found
            for index, inner in enumerate(detail)
            for found in (
                _pointers(inner, f"{path}/{index}") if isinstance(inner, Mapping | list) else _pointers(inner, path)
            )
        ]
    return [{"pointer": path or "/", "detail": str(detail)}]


# Our codes -> those of the Lambda Cloud API, which existing tools know; what is missing keeps its own.
LAMBDA_CODES = {
    "invalid_api_key": "global/invalid-api-key",
    "organization_suspended": "global/account-inactive",
    "address_not_allowed": "global/address-not-allowed",
    "invalid_parameters": "global/invalid-parameters",
    "invalid_ssh_key": "global/invalid-parameters",
    "object_does_not_exist": "global/object-does-not-exist",
    "budget_exceeded": "global/quota-exceeded",
    "quota_exceeded": "global/quota-exceeded",
    "duplicate": "global/duplicate",
    "insufficient_capacity": "instance-operations/launch/insufficient-capacity",
}


def lambda_error(status: int, code: str, message: str, suggestion: str = "") -> JsonResponse:
    """Return an error in the shape of the Lambda Cloud API (contracts 2)."""
    known = LAMBDA_CODES.get(code, code if "/" in code else "global/unknown")
    return JsonResponse({"error": {"code": known, "message": message, "suggestion": suggestion or None}}, status=status)


def lambda_response(error: Exception, context: Mapping[str, Any]) -> Response | HttpResponse | None:
    """Translate what a view of the instance API raised; None lets a bug become a 500."""
    # As in problem_response: of several instances, either all were changed or none.
    set_rollback()
    match _translated(error):
        case DomainError() as error:
            return lambda_error(error.status, error.code, str(error))
        case exceptions.ValidationError() as error:
            details = " ".join(f"{found['pointer']}: {found['detail']}" for found in _pointers(error.detail))
            return lambda_error(HTTPStatus.BAD_REQUEST, "invalid_parameters", details)
        case exceptions.APIException() as error:
            code = error.get_codes()
            response = lambda_error(error.status_code, code if isinstance(code, str) else "", str(error.detail))
            if header := getattr(error, "auth_header", None):
                response["WWW-Authenticate"] = header
            return response
        case Http404():
            return lambda_error(HTTPStatus.NOT_FOUND, "object_does_not_exist", "There is no such object.")
        case PermissionDenied() as error:
            return lambda_error(HTTPStatus.FORBIDDEN, "global/account-inactive", str(error) or "This key may not.")
    return None
