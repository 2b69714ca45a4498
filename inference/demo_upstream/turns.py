"""What one answer consists of, token by token: reasoning, text, JSON of an asked schema, calls of tools."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from inference.demo_upstream.text import answer_tokens, natural_length, split_tokens

# As in app.py: whatever a client sends.
type Body = dict[str, Any]

REASONING = "There is nothing here to think with, so this is only said."


@dataclass(frozen=True, slots=True)
class Turn:
    """pieces: the deltas of a stream, a token each. stop_text: which of the asked texts ended it."""

    pieces: list[Body]
    finish_reason: str
    stop_text: str | None = None

    @property
    def reasoning_count(self) -> int:
        return sum("reasoning_content" in piece for piece in self.pieces)

    def message(self) -> Body:
        """Return the pieces put together."""
        said = "".join(piece.get("content", "") for piece in self.pieces)
        message: Body = {"role": "assistant", "content": said, "refusal": None}
        if self.reasoning_count:
            message["reasoning_content"] = "".join(piece.get("reasoning_content", "") for piece in self.pieces)
        calls: dict[int, Body] = {}
        for call in (call for piece in self.pieces for call in piece.get("tool_calls", ())):
            if "id" in call:
                calls[call["index"]] = {"id": call["id"], "type": "function", "function": dict(call["function"])}
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
        if calls:
            message |= {"content": said or None, "tool_calls": list(calls.values())}
        return message


def chat_turn(body: Body, prompt: str, *, is_empty: bool) -> Turn:
    """Return the answer to a chat.

    It thinks where a `reasoning_effort` is asked, calls the tools that the prompt names (or must be called), and fills
    an asked schema with examples; in all else it is text.
    """
    if is_empty:
        return Turn([], "stop")
    thought = [{"reasoning_content": token} for token in split_tokens(REASONING)] if _thinks(body) else []
    if calls := _wanted_calls(body, prompt):
        return _limited(thought + list(_call_pieces(calls)), body, "tool_calls")
    if (schema := _asked_schema(body)) is not None:
        said = split_tokens(json.dumps(example(schema)))
        return _limited(thought + [{"content": token} for token in said], body, "stop")
    text = text_turn(body, prompt, key="content", is_empty=False, taken=len(thought))
    return Turn(thought[: limit_of(body)] + text.pieces, text.finish_reason, text.stop_text)


def text_turn(body: Body, prompt: str, *, key: str, is_empty: bool, taken: int = 0) -> Turn:
    """Return an answer in text under `key`. taken: tokens of the limit that something else has used."""
    limit, natural = limit_of(body), natural_length(prompt)
    length = natural if limit is None else max(0, min(limit - taken, natural))
    tokens = [] if is_empty else list(islice(answer_tokens(prompt), length))
    tokens, stop_text = _until_stop(tokens, body.get("stop"))
    finish_reason = "stop" if stop_text is not None or length == natural else "length"
    return Turn([{key: token} for token in tokens], finish_reason, stop_text)


def limit_of(body: Body) -> int | None:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return None if limit is None else int(limit)


def example(schema: Body) -> object:
    """Return a value that fits a JSON Schema, as far as demonstrations need it."""
    if "const" in schema or schema.get("enum"):
        return schema.get("const", next(iter(schema.get("enum", ())), None))
    match schema.get("type"):
        case "object":
            return {name: example(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}))]
        case "integer" | "number" | "boolean":
            return True if schema["type"] == "boolean" else schema.get("minimum", 1)
    return "demonstration"


def _thinks(body: Body) -> bool:
    return body.get("reasoning_effort") not in (None, "none")


def _asked_schema(body: Body) -> Body | None:
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object"}:
            return {"type": "object", "properties": {"answer": {}}}
    return None


def _wanted_calls(body: Body, prompt: str) -> list[Body]:
    functions: list[Body] = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice")
    if choice == "none" or body["messages"][-1].get("role") == "tool":
        return []
    if isinstance(choice, dict):
        return [each for each in functions if each["name"] == choice["function"]["name"]]
    wanted = [each for each in functions if each["name"] in prompt]
    if choice == "required":
        wanted = wanted or functions[:1]
    return wanted[:1] if body.get("parallel_tool_calls") is False else wanted


def _call_pieces(calls: list[Body]) -> Iterator[Body]:
    for index, call in enumerate(calls):
        head = {"name": call["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": f"call_demo{index}", "type": "function", "function": head}]}
        for token in split_tokens(json.dumps(example(call.get("parameters") or {"type": "object"}))):
            yield {"tool_calls": [{"index": index, "function": {"arguments": token}}]}


def _limited(pieces: list[Body], body: Body, finish_reason: str) -> Turn:
    limit = limit_of(body)
    if limit is None or len(pieces) <= limit:
        return Turn(pieces, finish_reason)
    return Turn(pieces[:limit], "length")


def _until_stop(tokens: list[str], stop: object) -> tuple[list[str], str | None]:
    """Return the tokens before the first stop text, and which one that was."""
    stops = [stop] if isinstance(stop, str) else [text for text in stop if text] if isinstance(stop, list) else []
    text = ""
    for number, token in enumerate(tokens):
        text += token
        if found := next((each for each in stops if each in text), None):
            return tokens[:number], found
    return tokens, None
