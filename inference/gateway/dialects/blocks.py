"""What an answer consists of: reasoning, text, refusals and calls of tools, each a block after the other.

Upstreams send a chat completion's chunks; dialects want to hear where a block begins, grows and ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum

import msgspec

from inference.gateway.answers import Choice, Content
from inference.gateway.upstream import UpstreamCut


class Kind(StrEnum):
    REASONING = "reasoning"
    TEXT = "text"
    REFUSAL = "refusal"
    CALL = "call"


class What(Enum):
    BEGAN = 1
    GREW = 2
    ENDED = 3


@dataclass(slots=True, eq=False)
class Block:
    kind: Kind
    index: int
    call_id: str = ""
    name: str = ""  # of the tool
    pieces: list[str] = field(default_factory=list)
    logprobs: list[object] = field(default_factory=list)
    is_whole: bool = False

    @property
    def text(self) -> str:
        """What it says; of a call its arguments, which should be JSON."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to a block; `text` and `logprobs` are what it grew by."""

    what: What
    block: Block
    text: str = ""
    logprobs: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class _Call:
    """A piece of a call. number: the place of its call among all of the answer, where the upstream says it."""

    number: int | None
    call_id: str
    name: str
    arguments: str


class _Logprobs(msgspec.Struct):
    content: list[object] | None = None


@dataclass(slots=True)
class _Unnamed:
    """A call whose tool is not known yet."""

    call_id: str = ""
    arguments: str = ""


class Blocks:
    """An answer in the making. `unnamed_id` begins the ids of calls to which the upstream gave none."""

    def __init__(self, unnamed_id: str) -> None:
        self.all: list[Block] = []
        self._unnamed_id = unnamed_id
        self._open: Block | None = None
        self._calls: dict[int, Block | _Unnamed] = {}

    @property
    def has_calls(self) -> bool:
        return any(block.kind is Kind.CALL for block in self.all)

    def feed(self, choice: Choice, *, is_whole: bool = False) -> Iterator[Step]:
        """Take in a piece of the answer, or with `is_whole` all of it.

        Raises UpstreamCut for a piece of a call that has ended: whoever was told so may have acted on it.
        """
        part = choice.message if is_whole else choice.delta
        if part is None:
            return
        yield from self._say(Kind.REASONING, _text_of(part.reasoning_content) or _text_of(part.reasoning))
        yield from self._say(Kind.TEXT, _text_of(part.content), _logprobs_of(choice))
        yield from self._say(Kind.REFUSAL, _text_of(part.refusal))
        for place, call in enumerate(_calls_of(part)):
            number = place if is_whole or call.number is None else call.number
            yield from self._call(number, call)

    def end(self) -> Iterator[Step]:
        """End what is still open; a call that never got a name is told without one."""
        for number, call in list(self._calls.items()):
            if isinstance(call, _Unnamed):
                yield from self._begin_call(number, call, "")
        yield from self._end_open()

    def _say(self, kind: Kind, text: str, logprobs: tuple[object, ...] = ()) -> Iterator[Step]:
        if not text:
            return
        block = self._open
        if block is None or block.kind is not kind:
            yield from self._end_open()
            block = self._begin(kind)
            yield Step(What.BEGAN, block)
        yield self._grow(block, text, logprobs)

    def _call(self, number: int, call: _Call) -> Iterator[Step]:
        known = self._calls.setdefault(number, _Unnamed())
        if isinstance(known, _Unnamed):
            known.call_id = known.call_id or call.call_id
            known.arguments += call.arguments
            if call.name:
                yield from self._begin_call(number, known, call.name)
        elif call.arguments:
            if known is not self._open:
                raise UpstreamCut
            yield self._grow(known, call.arguments)

    def _begin_call(self, number: int, call: _Unnamed, name: str) -> Iterator[Step]:
        yield from self._end_open()
        block = self._begin(Kind.CALL)
        block.call_id, block.name = call.call_id or f"{self._unnamed_id}_{number}", name
        self._calls[number] = block
        yield Step(What.BEGAN, block)
        if call.arguments:
            yield self._grow(block, call.arguments)

    def _begin(self, kind: Kind) -> Block:
        block = self._open = Block(kind, len(self.all))
        self.all.append(block)
        return block

    def _grow(self, block: Block, text: str, logprobs: tuple[object, ...] = ()) -> Step:
        block.pieces.append(text)
        block.logprobs += logprobs
        return Step(What.GREW, block, text, logprobs)

    def _end_open(self) -> Iterator[Step]:
        if self._open is not None:
            block, self._open = self._open, None
            block.is_whole = True
            yield Step(What.ENDED, block)


def _text_of(content: object) -> str:
    """Return the text of a content, whichever of its two shapes it has."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return ""


def _calls_of(part: Content) -> list[_Call]:
    given = part.tool_calls if isinstance(part.tool_calls, list) else []
    return [_call_of(call) for call in given if isinstance(call, dict)]


def _call_of(call: dict[str, object]) -> _Call:
    """Return a call, whatever else is in its place: an answer that costs something is never withheld."""
    function, number = call.get("function"), call.get("index")
    told: dict[str, object] = function if isinstance(function, dict) else {}
    arguments = told.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        # Some servers send the object itself.
        arguments = msgspec.json.encode(arguments).decode()
    return _Call(
        number if isinstance(number, int) else None,
        _word(call.get("id")),
        _word(told.get("name")),
        arguments or "",
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _logprobs_of(choice: Choice) -> tuple[object, ...]:
    try:
        given = msgspec.json.decode(choice.logprobs, type=_Logprobs | None)
    except msgspec.ValidationError:
        return ()
    return tuple(given.content or ()) if given is not None else ()
