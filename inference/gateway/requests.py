"""What a client asks for, checked as far as money and routing need it; everything else passes through unchanged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from inference.gateway.errors import ApiError, invalid
from inference.gateway.offers import Offer, Upstream
from inference.models import Receipt

type Fields = dict[str, msgspec.Raw]

Endpoint = Receipt.Endpoint

# What a chat template may add around a prompt, beyond the bytes of its JSON.
TEMPLATE_TOKENS = 256

Positive = Annotated[int, msgspec.Meta(ge=1)]
Choices = Annotated[int, msgspec.Meta(ge=1, le=128)]


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Part(msgspec.Struct):
    type: str = "text"


class Message(msgspec.Struct):
    content: str | list[Part] | None = None


class _Common(msgspec.Struct):
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    n: Choices | None = None


class ChatBody(_Common, kw_only=True):
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: Positive | None = None


class CompletionBody(_Common, kw_only=True):
    prompt: str | list[str | int | list[int]]
    best_of: Choices | None = None


class EmbeddingBody(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]


# What reading JSON of a stranger raises; nesting without end is no JSON that anybody means.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

type Body = ChatBody | CompletionBody | EmbeddingBody

_fields = msgspec.json.Decoder(Fields)
_TYPES: Mapping[Endpoint, msgspec.json.Decoder[Body]] = {
    Endpoint.CHAT_COMPLETIONS: msgspec.json.Decoder(ChatBody),
    Endpoint.COMPLETIONS: msgspec.json.Decoder(CompletionBody),
    Endpoint.EMBEDDINGS: msgspec.json.Decoder(EmbeddingBody),
}
_PATHS = {
    Endpoint.CHAT_COMPLETIONS: "/v1/chat/completions",
    Endpoint.COMPLETIONS: "/v1/completions",
    Endpoint.EMBEDDINGS: "/v1/embeddings",
    # Translated: inference/gateway/dialects.
    Endpoint.RESPONSES: "/v1/chat/completions",
    Endpoint.MESSAGES: "/v1/chat/completions",
}


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A checked request."""

    endpoint: Endpoint
    fields: Fields  # as the client sent them, each once
    model: str
    is_stream: bool
    wants_usage: bool  # the client itself asked for the final usage chunk
    wants_counts: bool  # and for the running count in every chunk
    answer_count: int  # how many answers of at most `asked_tokens` it may produce
    asked_tokens: int | None
    byte_count: int
    has_only_text: bool
    limit_name: str = "max_tokens"  # what its dialect calls asked_tokens

    @property
    def path(self) -> str:
        return _PATHS[self.endpoint]

    def prompt_bound(self, offer: Offer) -> int:
        """Return a number of tokens that the prompt cannot exceed.

        No tokenizer makes more tokens than a text has bytes. Only pictures and the like are larger inside than
        outside: then, the whole context counts.
        """
        if not self.has_only_text:
            return offer.context_length
        bound = self.byte_count + TEMPLATE_TOKENS
        return bound if offer.is_embedding else min(bound, offer.context_length * self.answer_count)

    def output_limit(self, offer: Offer) -> int:
        """Return how many tokens one answer may have. Raises ApiError 400 when more were asked than the model gives."""
        if offer.is_embedding:
            return 0
        if self.asked_tokens is None:
            return offer.default_output_tokens
        if self.asked_tokens > offer.max_output_tokens:
            raise invalid(
                f"{self.limit_name} is too large: {offer.name} gives at most {offer.max_output_tokens} tokens.",
                self.limit_name,
            )
        return self.asked_tokens

    def body_for(self, upstream: Upstream, offer: Offer) -> bytes:
        """Return the body that `upstream` gets: its own model name, usage asked for, and a limit on the answer."""
        fields = dict(self.fields)
        fields["model"] = _raw(upstream.upstream_model)
        if self.is_stream:
            options = msgspec.json.decode(fields["stream_options"]) if "stream_options" in fields else None
            options = {**(options or {}), "include_usage": True}
            if upstream.has_continuous_usage:
                options["continuous_usage_stats"] = True
            fields["stream_options"] = _raw(options)
        if not offer.is_embedding and self.asked_tokens is None:
            # Without a limit the worst case would be unknown, and the cap no cap.
            fields["max_tokens"] = _raw(self.output_limit(offer))
        return msgspec.json.encode(fields)


def fields_of(body: bytes) -> Fields:
    """Return the fields of a JSON object, each as the last of its name says. Raises ApiError 400."""
    try:
        # All of it, since strings that nobody reads here go on to a model.
        body.decode()
        fields: Fields = _fields.decode(body)
    except msgspec.ValidationError as error:
        raise invalid("The body must be a JSON object.") from error
    except UNREADABLE as error:
        raise invalid("The body is not valid JSON.", code="invalid_json") from error
    return fields


def parse_request(endpoint: Endpoint, body: bytes) -> ModelRequest:
    """Check a body. Raises ApiError 400 that names the field."""
    fields = fields_of(body)
    return _request_of(endpoint, fields, understood(_TYPES[endpoint], fields), len(body))


def understood[T](decoder: msgspec.json.Decoder[T], fields: Fields) -> T:
    """Return what fields mean. Raises ApiError 400 that names the field, and never its value."""
    try:
        # A field given twice counts once, as the last says; only that one is sent on.
        return decoder.decode(msgspec.json.encode(fields))
    except msgspec.ValidationError as error:
        raise _invalid_field(error) from error


def _request_of(endpoint: Endpoint, fields: Fields, typed: Body, byte_count: int) -> ModelRequest:
    is_stream = wants_usage = wants_counts = False
    asked_tokens: int | None = None
    answer_count = 1
    has_only_text = True
    if isinstance(typed, _Common):
        is_stream = typed.stream is True
        if typed.stream_options is not None:
            wants_usage = typed.stream_options.include_usage is True
            wants_counts = typed.stream_options.continuous_usage_stats is True
        asked_tokens = typed.max_tokens
        answer_count = typed.n or 1
    if isinstance(typed, ChatBody):
        if typed.max_completion_tokens is not None:
            asked_tokens = max(typed.max_completion_tokens, typed.max_tokens or 0)
        has_only_text = all(_is_text(message) for message in typed.messages)
    if isinstance(typed, CompletionBody):
        answer_count = max(answer_count, typed.best_of or 1) * _prompt_count(typed.prompt)
    return ModelRequest(
        endpoint=endpoint,
        fields=fields,
        model=typed.model,
        is_stream=is_stream,
        wants_usage=wants_usage,
        wants_counts=wants_counts,
        answer_count=answer_count,
        asked_tokens=asked_tokens,
        byte_count=byte_count,
        has_only_text=has_only_text,
    )


def _is_text(message: Message) -> bool:
    return not isinstance(message.content, list) or all(part.type in ("text", "refusal") for part in message.content)


def _prompt_count(prompt: str | list[str | int | list[int]]) -> int:
    """Return how many prompts there are: a list of numbers is one prompt of tokens."""
    if isinstance(prompt, str) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)


def _invalid_field(error: msgspec.ValidationError) -> ApiError:
    # The message names types and the path, never the value.
    text = str(error)
    message, _, path = text.partition(" - at `$.")
    if path:
        field = path.rstrip("`").split(".")[0].split("[")[0]
        return invalid(f"{field}: {message}.", field)
    if "missing required field" in text:
        field = text.split("`")[1]
        return invalid(f"{field} is required.", field)
    return invalid(f"{message}.")


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
