"""How the REST API reads bodies; apart from portal.lib.api, which REST framework itself is loaded before."""

from typing import Any

from rest_framework import exceptions
from rest_framework.parsers import JSONParser


class BodyParser(JSONParser):
    """JSON as REST framework reads it; a body that nests without end is malformed too, and no failure of ours."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError as error:
            raise exceptions.ParseError("The body nests too deeply.") from error
