"""Which address speaks which dialect."""

from collections.abc import Mapping

from inference.gateway.dialects import Dialect
from inference.gateway.dialects.messages import MessageDialect
from inference.gateway.dialects.openai import PlainDialect
from inference.gateway.dialects.responses import ResponseDialect
from inference.gateway.requests import Endpoint

_CHAT = PlainDialect(Endpoint.CHAT_COMPLETIONS)

DIALECTS: Mapping[str, Dialect] = {
    "/v1/chat/completions": _CHAT,
    "/v1/completions": PlainDialect(Endpoint.COMPLETIONS),
    "/v1/embeddings": PlainDialect(Endpoint.EMBEDDINGS),
    "/v1/responses": ResponseDialect(),
    "/v1/messages": MessageDialect(),
}


def spoken_at(path: str) -> Dialect:
    """Return in which dialect an address is answered; one that takes no requests for models in OpenAI's."""
    return DIALECTS.get(path, _CHAT)
