"""What a request to /v1/messages asks for, as a chat completion."""

from typing import Annotated

import msgspec

from inference.gateway.dialects.chat import (
    NULL,
    Conversation,
    Part,
    file_part,
    function,
    picture_part,
    shared_fields,
    text_part,
    translated,
)
from inference.gateway.errors import ApiError, invalid
from inference.gateway.requests import Endpoint, Fields, ModelRequest, Positive, fields_of, understood

# How hard a model is to think, in the words of chat completions, which know no more than high.
_EFFORTS = {"xhigh": "high", "max": "high"}
# Tiers that go by another name there; every other keeps its own.
_TIERS = {"standard_only": "default"}


class Source(msgspec.Struct):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class Piece(msgspec.Struct):
    """A content block."""

    type: str
    text: str = ""
    source: Source | None = None
    title: str | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str = ""
    content: "str | list[Piece] | None" = None


class Message(msgspec.Struct):
    role: str
    content: str | list[Piece]


class Tool(msgspec.Struct):
    type: str | None = None
    name: str = ""
    description: str | None = None
    input_schema: msgspec.Raw = NULL
    strict: bool | None = None


class Choosing(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class Format(msgspec.Struct):
    type: str
    schema: msgspec.Raw = NULL


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: Format | None = None


class Metadata(msgspec.Struct):
    user_id: str | None = None


class Body(msgspec.Struct):
    model: str
    max_tokens: Positive
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    system: str | list[Piece] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choosing | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None
    mcp_servers: list[object] | None = None
    container: object = None


_body = msgspec.json.Decoder(Body)


def read_body(body: bytes) -> tuple[Body, ModelRequest]:
    """Return what is understood of a body, and the request that it is. Raises ApiError 400 that names the field."""
    fields = fields_of(body)
    asked = understood(_body, fields)
    for name, value in {"mcp_servers": asked.mcp_servers, "container": asked.container}.items():
        if value:
            raise _unsupported(f"{name} is not served here: tools run at yours.", name)
    chat = _shared(fields) | {
        "model": asked.model,
        "messages": _messages(asked),
        "stream": asked.stream,
        "max_tokens": asked.max_tokens,
        **_tools(asked),
        **_form(asked),
    }
    return asked, translated(Endpoint.MESSAGES, chat, byte_count=len(body))


def _shared(fields: Fields) -> dict[str, object]:
    shared = shared_fields(fields)
    # A tier of this name would be refused by upstreams.
    shared.pop("service_tier", None)
    return shared


# --- What was said --------------------------------------------------------------------------------


class _Unknown(Exception):
    """Something that has no translation; says what has."""


def _messages(asked: Body) -> list[dict[str, object]]:
    conversation = Conversation()
    try:
        if system := _text(asked.system):
            conversation.instruct(system)
    except _Unknown as error:
        raise _unsupported(f"system: {error}", "system") from error
    for number, message in enumerate(asked.messages):
        try:
            _say(conversation, message)
        except _Unknown as error:
            raise _unsupported(f"messages.{number}: {error}", "messages") from error
    return conversation.messages()


def _say(conversation: Conversation, message: Message) -> None:
    """Add a message to the conversation. Raises _Unknown."""
    match message.role:
        case "user":
            _say_user(conversation, message.content)
        case "assistant":
            _say_assistant(conversation, message.content)
        case "system":
            conversation.instruct(_text(message.content))
        case _:
            raise _Unknown("the role of a message is user or assistant.")


def _say_user(conversation: Conversation, content: str | list[Piece]) -> None:
    if isinstance(content, str):
        conversation.ask([text_part(content)])
        return
    for piece in content:
        if piece.type == "tool_result":
            conversation.give_result(piece.tool_use_id, _parts(piece.content))
    said = [piece for piece in content if piece.type != "tool_result"]
    if said:
        conversation.ask(_parts(said))


def _say_assistant(conversation: Conversation, content: str | list[Piece]) -> None:
    if isinstance(content, str):
        conversation.answer(content)
        return
    # What a model thought before is not told to it again.
    said = [piece for piece in content if piece.type not in ("thinking", "redacted_thinking")]
    calls = [piece for piece in said if piece.type == "tool_use"]
    text = _text([piece for piece in said if piece.type != "tool_use"])
    conversation.answer(text or None if calls else text)
    for call in calls:
        conversation.call(call.id, call.name, bytes(call.input).decode())


def _text(content: str | list[Piece] | None) -> str:
    parts = _parts(content)
    if any(part["type"] != "text" for part in parts):
        raise _Unknown("only the user and results of tools show pictures and files.")
    return "\n".join(str(part["text"]) for part in parts)


def _parts(content: str | list[Piece] | None) -> list[Part]:
    if content is None:
        return []
    return [text_part(content)] if isinstance(content, str) else [_part(piece) for piece in content]


def _part(piece: Piece) -> Part:
    match piece:
        case Piece(type="text"):
            return text_part(piece.text)
        case Piece(type="image", source=Source(type="base64") as source):
            return picture_part(_data_url(source))
        case Piece(type="image", source=Source(type="url") as source):
            return picture_part(source.url)
        case Piece(type="document", source=Source(type="text") as source):
            return text_part(f"{piece.title}\n{source.data}" if piece.title else source.data)
        case Piece(type="document", source=Source(type="base64") as source):
            return file_part(_data_url(source), piece.title)
        case Piece(type="image" | "document"):
            raise _Unknown("no files are kept here. Send a picture as base64 or url, a document as base64 or text.")
    raise _Unknown("only text, image, document, tool_use, tool_result and thinking blocks are served here.")


def _data_url(source: Source) -> str:
    return f"data:{source.media_type};base64,{source.data}"


# --- Tools and forms ------------------------------------------------------------------------------


def _tools(asked: Body) -> dict[str, object]:
    if not asked.tools:
        return {}
    if any(tool.type not in (None, "custom") or not tool.name for tool in asked.tools):
        raise _unsupported(
            "tools: only tools of your own are served here, each with a name; those of a vendor are not.", "tools"
        )
    told: dict[str, object] = {
        "tools": [function(tool.name, tool.description, tool.input_schema, strict=tool.strict) for tool in asked.tools]
    }
    if asked.tool_choice is not None:
        told["tool_choice"] = _choice(asked.tool_choice)
        if asked.tool_choice.disable_parallel_tool_use is not None:
            told["parallel_tool_calls"] = not asked.tool_choice.disable_parallel_tool_use
    return told


def _choice(choice: Choosing) -> object:
    match choice.type:
        case "auto" | "none":
            return choice.type
        case "any":
            return "required"
        case "tool":
            return {"type": "function", "function": {"name": choice.name}}
    raise _unsupported("tool_choice: its type is auto, any, tool or none.", "tool_choice")


def _form(asked: Body) -> dict[str, object]:
    """Return what else a chat completion calls by other names."""
    form: dict[str, object] = {}
    if asked.stop_sequences:
        form["stop"] = asked.stop_sequences
    if asked.metadata is not None and asked.metadata.user_id is not None:
        form["user"] = asked.metadata.user_id
    if asked.service_tier is not None:
        form["service_tier"] = _TIERS.get(asked.service_tier, asked.service_tier)
    if asked.output_config is not None:
        form |= _output(asked.output_config)
    return form


def _output(config: OutputConfig) -> dict[str, object]:
    told: dict[str, object] = {}
    if config.effort is not None:
        told["reasoning_effort"] = _EFFORTS.get(config.effort, config.effort)
    if config.format is not None:
        if config.format.type != "json_schema" or config.format.schema == NULL:
            raise _unsupported("output_config: the format is json_schema, with a schema.", "output_config")
        told["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": config.format.schema, "strict": True},
        }
    return told


def _unsupported(message: str, param: str) -> ApiError:
    return invalid(message, param, "unsupported_value")
