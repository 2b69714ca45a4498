"""Refusals in the shape that OpenAI's clients read (contracts 3)."""

from collections.abc import Mapping

import msgspec

INVALID_REQUEST = "invalid_request_error"


class ApiError(Exception):
    """An answer that is an error. `str(error)` is a sentence for the customer and never repeats their input."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None,
        kind: str = INVALID_REQUEST,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.kind = kind
        self.param = param
        self.headers = dict(headers or {})
        self.details = dict(details or {})

    def body(self) -> bytes:
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code, **self.details}
        return msgspec.json.encode({"error": error})


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, code=code, param=param)


def invalid_key() -> ApiError:
    """One and the same answer for every reason."""
    return ApiError(
        401,
        "The API key is missing, mistyped, expired or revoked. Make one under API keys in the console.",
        code="invalid_api_key",
        headers={"www-authenticate": 'Bearer realm="v1"'},
    )


def wrong_address() -> ApiError:
    return ApiError(
        403, "This key may not be used from this address.", code="address_not_allowed", kind="permission_error"
    )


def unknown_model() -> ApiError:
    return ApiError(404, "There is no such model. GET /v1/models lists them.", code="model_not_found", param="model")


def unavailable(message: str, *, code: str, retry_after_seconds: int = 1) -> ApiError:
    """The fault is ours: asking again later may help."""
    return ApiError(503, message, code=code, kind="server_error", headers={"retry-after": str(retry_after_seconds)})


def no_database() -> ApiError:
    return unavailable("Keys and budgets cannot be read at the moment. Nothing was charged.", code="unavailable")
