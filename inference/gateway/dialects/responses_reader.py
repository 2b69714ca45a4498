"""What a request to /v1/responses asks for, as a chat completion."""

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
from inference.gateway.requests import (
    Endpoint,
    Fields,
    ModelRequest,
    Positive,
    fields_of,
    understood,
)


class Piece(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    filename: str | None = None


class Item(msgspec.Struct):
    type: str | None = "message"
    role: str | None = None
    content: str | list[Piece] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Piece] | None = None


class Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = NULL
    strict: bool | None = None


class Choosing(msgspec.Struct):
    type: str
    name: str | None = None
    mode: str = "auto"
    tools: list[Tool] = []


class Format(msgspec.Struct):
    type: str = "text"
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw = NULL
    strict: bool | None = None


class Text(msgspec.Struct):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None


class Body(msgspec.Struct):
    model: str
    input: str | Annotated[list[Item], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Positive | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Choosing | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: object = None
    conversation: object = None
    prompt: object = None

    @property
    def wants_logprobs(self) -> bool:
        return bool(self.top_logprobs) or "message.output_text.logprobs" in (self.include or ())


_body = msgspec.json.Decoder(Body)


def read_body(body: bytes) -> tuple[Fields, Body, ModelRequest]:
    """Return the fields as they came, what is understood of them, and the request that they are.

    Raises ApiError 400 that names the field.
    """
    fields = fields_of(body)
    asked = understood(_body, fields)
    _check_state(asked)
    chat = shared_fields(fields) | {
        "model": asked.model,
        "messages": _messages(asked),
        "stream": asked.stream,
        "max_tokens": asked.max_output_tokens,
        **_tools(asked),
        **_form(asked),
    }
    request = translated(Endpoint.RESPONSES, chat, byte_count=len(body), limit_name="max_output_tokens")
    return fields, asked, request


def _check_state(asked: Body) -> None:
    """Refuse what would need something that is kept here. Raises ApiError 400."""
    kept = {
        "store": asked.store,
        "background": asked.background,
        "previous_response_id": asked.previous_response_id,
        "conversation": asked.conversation,
        "prompt": asked.prompt,
    }
    for name, value in kept.items():
        if value:
            raise invalid(
                f"{name} is not served here: no response is kept, so there is nothing to come back to. "
                "Send what was said before in input.",
                name,
                "unsupported_parameter",
            )


# --- What was said --------------------------------------------------------------------------------


def _messages(asked: Body) -> list[dict[str, object]]:
    conversation = Conversation()
    if asked.instructions:
        conversation.instruct(asked.instructions)
    items = [Item(role="user", content=asked.input)] if isinstance(asked.input, str) else asked.input
    for number, item in enumerate(items):
        try:
            _say(conversation, item)
        except _Unknown as error:
            raise _unsupported(f"input[{number}]: {error}", "input") from error
    return conversation.messages()


class _Unknown(Exception):
    """Something that has no translation; says what has."""


def _say(conversation: Conversation, item: Item) -> None:
    """Add an item to the conversation. Raises _Unknown."""
    match item.type or "":
        case "message":
            _say_message(conversation, item)
        case "function_call" if item.call_id and item.name:
            conversation.call(item.call_id, item.name, item.arguments or "{}")
        case "function_call_output" if item.call_id:
            conversation.give_result(item.call_id, _parts(item.output))
        case "function_call" | "function_call_output":
            raise _Unknown("a call has a call_id and a name, and its output the call_id.")
        case "reasoning":
            # What a model thought before is not told to it again.
            return
        case _:
            raise _Unknown("only messages, function calls, their outputs and reasoning are served here.")


def _say_message(conversation: Conversation, item: Item) -> None:
    parts = _parts(item.content)
    match item.role:
        case "user":
            conversation.ask(parts or [text_part("")])
        case "assistant":
            conversation.answer(_only_text(parts))
        case "system" | "developer":
            conversation.instruct(_only_text(parts))
        case _:
            raise _Unknown("the role of a message is user, assistant, system or developer.")


def _only_text(parts: list[Part]) -> str:
    if any(part["type"] != "text" for part in parts):
        raise _Unknown("only the user shows pictures and files.")
    return "\n".join(str(part["text"]) for part in parts)


def _parts(content: str | list[Piece] | None) -> list[Part]:
    if content is None:
        return []
    return [text_part(content)] if isinstance(content, str) else [_part(piece) for piece in content]


def _part(piece: Piece) -> Part:
    match piece.type:
        case "input_text" | "output_text" | "text":
            return text_part(piece.text or "")
        case "refusal":
            return text_part(piece.refusal or "")
        case "input_image" if piece.image_url:
            return picture_part(piece.image_url, piece.detail)
        case "input_file" if piece.file_data:
            return file_part(piece.file_data, piece.filename)
        case "input_image" | "input_file":
            raise _Unknown("no files are kept here. Send the picture's image_url, or the file's file_data.")
        case _:
            raise _Unknown("only text, pictures and files are served here.")


# --- Tools and forms ------------------------------------------------------------------------------


def _tools(asked: Body) -> dict[str, object]:
    if not asked.tools:
        return {}
    if any(tool.type != "function" or not tool.name for tool in asked.tools):
        raise _unsupported(
            "tools: only functions are served here, each with a name; tools that run at a vendor's are not.", "tools"
        )
    offered, choice = _chosen(asked.tools, asked.tool_choice)
    tools = [function(tool.name or "", tool.description, tool.parameters, strict=tool.strict) for tool in offered]
    return {"tools": tools, "tool_choice": choice, "parallel_tool_calls": asked.parallel_tool_calls}


def _chosen(tools: list[Tool], choice: str | Choosing | None) -> tuple[list[Tool], object]:
    """Return which tools are offered, and how a chat completion says which of them to use."""
    match choice:
        case None | "auto" | "none" | "required":
            return tools, choice
        case Choosing(type="function", name=str(name)):
            return tools, {"type": "function", "function": {"name": name}}
        case Choosing(type="allowed_tools", mode="auto" | "required"):
            allowed = {tool.name for tool in choice.tools}
            if offered := [tool for tool in tools if tool.name in allowed]:
                return offered, choice.mode
    raise _unsupported("tool_choice: auto, none, required, a function or allowed_tools are served here.", "tool_choice")


def _form(asked: Body) -> dict[str, object]:
    """Return in which form the answer is to come: schema, length, effort and probabilities."""
    form: dict[str, object] = {}
    if asked.reasoning is not None and asked.reasoning.effort is not None:
        form["reasoning_effort"] = asked.reasoning.effort
    if asked.wants_logprobs:
        form |= {"logprobs": True, "top_logprobs": asked.top_logprobs}
    if asked.text is not None:
        form |= _text(asked.text)
    return form


def _text(text: Text) -> dict[str, object]:
    told: dict[str, object] = {"verbosity": text.verbosity} if text.verbosity else {}
    match text.format:
        case None | Format(type="text"):
            return told
        case Format(type="json_object"):
            return told | {"response_format": {"type": "json_object"}}
        case Format(type="json_schema", name=str(name)) if text.format.schema != NULL:
            schema: dict[str, object] = {"name": name, "schema": text.format.schema}
            if text.format.description is not None:
                schema["description"] = text.format.description
            if text.format.strict is not None:
                schema["strict"] = text.format.strict
            return told | {"response_format": {"type": "json_schema", "json_schema": schema}}
    raise _unsupported("text: format is text, json_object, or json_schema with a name and a schema.", "text")


def _unsupported(message: str, param: str) -> ApiError:
    return invalid(message, param, "unsupported_value")
