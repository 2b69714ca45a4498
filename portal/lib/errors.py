"""The one base of all refusals."""

from http import HTTPStatus
from typing import ClassVar


class DomainError(Exception):
    """A rule of the business said no. `str(error)` is a sentence that may be shown to the customer."""

    status: ClassVar[HTTPStatus] = HTTPStatus.CONFLICT
    code: ClassVar[str] = "conflict"
