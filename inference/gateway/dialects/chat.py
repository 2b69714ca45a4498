"""Chat completions, as dialects make them of their own requests: what upstreams speak."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from inference.gateway.requests import Endpoint, Fields, ModelRequest, parse_request

# What goes on under its own name: fields of chat completions, and of the servers of open models, that mean the same
# in every dialect. Whatever else a dialect does not translate has no meaning there and stays behind. What would make
# several answers of one (n, best_of) is not among them.
SHARED_FIELDS = frozenset(
    {
        "bad_words",
        "chat_template_kwargs",
        "frequency_penalty",
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "ignore_eos",
        "length_penalty",
        "logit_bias",
        "min_p",
        "min_tokens",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "repetition_penalty",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "stop_token_ids",
        "structured_outputs",
        "temperature",
        "top_k",
        "top_p",
        "user",
        "verbosity",
    }
)

type Part = dict[str, object]

# Raw JSON is equal to raw JSON only, never to bytes.
NULL = msgspec.Raw(b"null")


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def picture_part(url: str, detail: str | None = None) -> Part:
    """Return a picture. url: an address, or a data URL that has it all."""
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}}


def file_part(data_url: str, name: str | None) -> Part:
    return {"type": "file", "file": {"file_data": data_url, **({"filename": name} if name else {})}}


class Conversation:
    """The messages of a chat completion, put together turn by turn."""

    def __init__(self) -> None:
        self._messages: list[dict[str, object]] = []
        # The assistant's message while its turn lasts, and what it calls.
        self._turn: dict[str, object] | None = None
        self._calls: list[dict[str, object]] = []
        # Results of tools are text there, so their pictures follow as a message of the user.
        self._pictures: list[Part] = []

    def instruct(self, text: str) -> None:
        """Add a system message. Those at the beginning become one: many templates know no other."""
        if len(self._messages) == 1 and self._messages[0]["role"] == "system":
            self._messages[0]["content"] = f"{self._messages[0]['content']}\n\n{text}"
        else:
            self._add({"role": "system", "content": text})

    def ask(self, parts: list[Part]) -> None:
        parts, self._pictures = [*self._pictures, *parts], []
        is_text = len(parts) == 1 and parts[0]["type"] == "text"
        self._add({"role": "user", "content": parts[0]["text"] if is_text else parts})

    def answer(self, text: str | None) -> dict[str, object]:
        """Begin a turn of the assistant. text: None when it only calls tools."""
        turn: dict[str, object] = {"role": "assistant", "content": text}
        self._add(turn)
        self._turn, self._calls = turn, []
        return turn

    def call(self, call_id: str, name: str, arguments: str) -> None:
        """Add a call of a tool to the assistant's turn."""
        turn = self._turn or self.answer(None)
        self._calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
        turn["tool_calls"] = self._calls

    def give_result(self, call_id: str, parts: Iterable[Part]) -> None:
        """Add what a tool came to; results that follow each other stay together."""
        texts: list[str] = []
        for part in parts:
            if part["type"] == "text":
                texts.append(str(part["text"]))
            else:
                self._pictures.append(part)
        self._turn = None
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": "\n".join(texts)})

    def messages(self) -> list[dict[str, object]]:
        self._hand_pictures_in()
        return self._messages

    def _add(self, message: dict[str, object]) -> None:
        self._hand_pictures_in()
        self._turn = None
        self._messages.append(message)

    def _hand_pictures_in(self) -> None:
        if self._pictures:
            parts, self._pictures = self._pictures, []
            self._messages.append({"role": "user", "content": parts})


def function(name: str, description: str | None, parameters: msgspec.Raw, *, strict: bool | None) -> dict[str, object]:
    """Return a tool. parameters: its JSON Schema, or null."""
    told: dict[str, object] = {"name": name}
    if description is not None:
        told["description"] = description
    if parameters != NULL:
        told["parameters"] = parameters
    if strict is not None:
        told["strict"] = strict
    return {"type": "function", "function": told}


def shared_fields(fields: Fields) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name in SHARED_FIELDS and value != NULL}


def translated(
    endpoint: Endpoint, chat: dict[str, object], *, byte_count: int, limit_name: str = "max_tokens"
) -> ModelRequest:
    """Return the request that a chat completion is, for `endpoint`.

    byte_count: of the body that it was made of; the longer of both bounds the tokens of the prompt. limit_name: what
    the dialect calls `max_tokens`. Raises ApiError 400 like `parse_request`.
    """
    body = msgspec.json.encode({name: value for name, value in chat.items() if value is not None})
    request = parse_request(Endpoint.CHAT_COMPLETIONS, body)
    return replace(
        request,
        endpoint=endpoint,
        byte_count=max(len(body), byte_count),
        # Running counts do no harm where chunks are not passed on as they are.
        wants_counts=True,
        limit_name=limit_name,
    )
