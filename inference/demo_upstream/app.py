"""The demonstration server's ASGI application: models, chat completions, completions and embeddings."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from inference.demo_upstream.faults import NONE, Faults, parse_faults
from inference.demo_upstream.text import TOKENIZER, count_tokens, embedding
from inference.demo_upstream.turns import chat_turn, text_turn

# ASGI's own types are open dictionaries.
type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[Mapping[str, Any]], Awaitable[None]]
# A request's JSON body: whatever a client sends, and fields that we do not know are nobody's mistake.
type Body = dict[str, Any]

NOTICE = f"Demonstration server: no model answers here. Tokens: {TOKENIZER}."


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Cut(Exception):
    """The fault that breaks the connection in the middle of an answer."""


class DemoUpstream:
    def __init__(self, *, models: Sequence[str] = ("demo",), key: str = "", listens_to_faults: bool = False) -> None:
        self.models = list(models)
        self.key = key
        self.listens_to_faults = listens_to_faults
        self._routes: dict[str, Callable[[Body, Faults, Send], Awaitable[None]]] = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/v1/embeddings": self._embed,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except Refused as refused:
            await _send_json(send, refused.status, _error(str(refused), refused.code))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            return await _send_json(send, 200, {"status": "ok"})
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and not hmac.compare_digest(given.encode(), self.key.encode()):
            raise Refused(401, "The key for this demonstration server is wrong.", "invalid_api_key")
        if path == "/v1/models" and method == "GET":
            return await _send_json(send, 200, {"object": "list", "data": [_model(name) for name in self.models]})
        route = self._routes.get(path)
        if route is None:
            raise Refused(404, f"This demonstration server has no {path}.")
        if method != "POST":
            raise Refused(405, f"{path} takes POST.")
        body = await _read_json(receive)
        return await self._run(route, body, headers.get("x-demo-fault", ""), send)

    async def _run(
        self, route: Callable[[Body, Faults, Send], Awaitable[None]], body: Body, asked: str, send: Send
    ) -> None:
        faults = NONE
        if self.listens_to_faults:
            name, _, suffix = str(body.get("model", "")).partition("!")
            body["model"] = name
            faults = parse_faults(asked or suffix)
        if faults.hang:
            await asyncio.Event().wait()
        if faults.status:
            raise Refused(faults.status, f"A fault was asked for: {faults.status}.", "demonstration_fault")
        try:
            await route(body, faults, send)
        except Cut:
            # No last chunk was sent, so returning makes the HTTP server close the connection in the middle.
            return

    async def _chat(self, body: Body, faults: Faults, send: Send) -> None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused(400, "messages must be a list with at least one message.")
        prompt = "\n".join(_texts(messages))
        await _Completion(body, prompt, faults, is_chat=True).send(send)

    async def _complete(self, body: Body, faults: Faults, send: Send) -> None:
        prompt = body.get("prompt")
        if isinstance(prompt, list):
            prompt = " ".join(str(part) for part in prompt)
        if not isinstance(prompt, str):
            raise Refused(400, "prompt must be text.")
        await _Completion(body, prompt, faults, is_chat=False).send(send)

    async def _embed(self, body: Body, faults: Faults, send: Send) -> None:
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise Refused(400, "input must be a text or a list of texts.")
        data = [
            {"object": "embedding", "index": index, "embedding": embedding(text)}
            for index, text in enumerate([] if faults.empty else texts)
        ]
        tokens = sum(count_tokens(text) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await _send_json(send, 200, {"object": "list", "model": body.get("model"), "data": data, "usage": usage})


class _Completion:
    """One answer, written at once or token by token."""

    def __init__(self, body: Body, prompt: str, faults: Faults, *, is_chat: bool) -> None:
        self.body, self.faults, self.is_chat = body, faults, is_chat
        self.prompt_tokens = count_tokens(prompt)
        if is_chat:
            self.turn = chat_turn(body, prompt, is_empty=faults.empty)
        else:
            self.turn = text_turn(body, prompt, key="text", is_empty=faults.empty)
        self.created = int(time.time())

    async def send(self, send: Send) -> None:
        if self.body.get("stream") is not True:
            await asyncio.sleep(self.faults.delay_ms / 1000)
            if self.faults.cut is not None:
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9999")]})
                raise Cut
            return await _send_json(send, 200, self._whole())
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for event in self._events():
            data = event if isinstance(event, str) else json.dumps(event)
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})
        return await send({"type": "http.response.body", "body": b""})

    def _usage(self, completion_tokens: int) -> Body:
        total = self.prompt_tokens + completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": min(self.faults.cached, self.prompt_tokens)},
            "completion_tokens_details": {"reasoning_tokens": min(self.turn.reasoning_count, completion_tokens)},
        }

    def _envelope(self, kind: str) -> Body:
        return {
            "id": "chatcmpl-demonstration" if self.is_chat else "cmpl-demonstration",
            "object": kind,
            "created": self.created,
            "model": self.body.get("model"),
            "system_fingerprint": NOTICE,
        }

    def _whole(self) -> Body:
        choice: Body = {"index": 0, **self._finish(), "logprobs": self._logprobs(self.turn.pieces)}
        if self.is_chat:
            choice["message"] = self.turn.message()
        else:
            choice["text"] = "".join(piece["text"] for piece in self.turn.pieces)
        answer = self._envelope("chat.completion" if self.is_chat else "text_completion") | {"choices": [choice]}
        return answer if self.faults.silent else answer | {"usage": self._usage(len(self.turn.pieces))}

    async def _events(self) -> AsyncIterator[Body | str]:
        options = self.body.get("stream_options") or {}
        counts_on = options.get("continuous_usage_stats") is True
        for number, choice in enumerate(self._choices()):
            if self.faults.delay_ms:
                await asyncio.sleep(self.faults.delay_ms / 1000)
            # The first chunk of a chat carries the role and no token.
            delivered = number - 1 if self.is_chat else number
            if self.faults.cut is not None and delivered >= self.faults.cut:
                raise Cut
            if self.faults.stall is not None and delivered >= self.faults.stall:
                await asyncio.Event().wait()
            chunk = self._envelope("chat.completion.chunk" if self.is_chat else "text_completion")
            chunk["choices"] = [choice]
            if counts_on:
                chunk["usage"] = self._usage(max(0, min(delivered + 1, len(self.turn.pieces))))
            yield chunk
        if options.get("include_usage") is True and not self.faults.silent:
            chunk = self._envelope("chat.completion.chunk" if self.is_chat else "text_completion")
            yield chunk | {"choices": [], "usage": self._usage(len(self.turn.pieces))}
        yield "[DONE]"

    def _choices(self) -> Iterator[Body]:
        if self.is_chat:
            yield {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        for piece in self.turn.pieces:
            content: Body = {"delta": piece} if self.is_chat else piece
            if self.body.get("logprobs") is True:
                content = content | {"logprobs": self._logprobs([piece])}
            yield {"index": 0, "finish_reason": None} | content
        last: Body = {"delta": {}} if self.is_chat else {"text": ""}
        yield {"index": 0} | self._finish() | last

    def _finish(self) -> Body:
        # stop_reason is what servers of open models add: which stop text it was.
        return {"finish_reason": self.turn.finish_reason, "stop_reason": self.turn.stop_text}

    def _logprobs(self, pieces: list[Body]) -> Body | None:
        if self.body.get("logprobs") is not True:
            return None
        said = [piece["content"] for piece in pieces if "content" in piece]
        return {
            "content": [
                {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []} for token in said
            ]
        }


def _texts(messages: list[Any]) -> Iterator[str]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (_shown(part) for part in content if isinstance(part, dict))


def _shown(part: Body) -> str:
    """Return a part as text: of a picture or a file, that there is one."""
    is_there = isinstance(part.get("image_url"), dict) or isinstance(part.get("file"), dict)
    return "a-picture-or-file" if is_there else str(part.get("text", ""))


def _model(name: str) -> Body:
    return {"id": name, "object": "model", "created": 0, "owned_by": "demonstration"}


def _error(message: str, code: str | None) -> Body:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


async def _read_json(receive: Receive) -> Body:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        decoded = json.loads(body)
    except ValueError as error:
        raise Refused(400, "The body is not JSON.") from error
    if not isinstance(decoded, dict):
        raise Refused(400, "The body must be an object.")
    return decoded


async def _send_json(send: Send, status: int, data: object) -> None:
    body = json.dumps(data).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
