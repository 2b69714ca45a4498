"""How an answer ended and what it came to, whether it came whole or in chunks."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from inference.gateway.answers import Choice, Event
from inference.gateway.exchange import Summary
from inference.gateway.offers import Cost
from inference.models import Receipt
from inference.rating import TokenCounts, usd_string


class _Answer(msgspec.Struct):
    usage: dict[str, object] = {}
    choices: list[Choice] = []
    service_tier: object = None


_answer = msgspec.json.Decoder(_Answer)
_CUT = frozenset({Receipt.Status.CUT, Receipt.Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the upstream counted them, else as they are billed; `cached` are among `input`."""

    input: int
    cached: int
    output: int
    reasoning: int
    cost: str
    price_version: object

    @property
    def priced(self) -> dict[str, object]:
        """What every dialect adds to its own fields."""
        return {"cost": self.cost, "price_version": self.price_version}


@dataclass(frozen=True, slots=True)
class End:
    """How an answer ended.

    finish_reason: in the words of chat completions. stop_text: which of the asked texts it was, if known. is_cut:
    whether it broke off, so that there is no reason of the model's.
    """

    finish_reason: str
    usage: Usage
    stop_text: str | None = None
    service_tier: object = None
    is_cut: bool = False


def read_whole(body: bytes) -> tuple[Choice | None, End]:
    """Return the answer and the end of a whole, priced chat completion."""
    answer = _answer.decode(body)
    choice = answer.choices[0] if answer.choices else None
    usage = _usage_of(answer.usage, str(answer.usage.get("cost", "")), answer.usage.get("price_version"))
    if choice is None:
        return None, End("", usage, service_tier=answer.service_tier)
    return choice, End(choice.finish_reason or "", usage, stop_text_of(choice), answer.service_tier)


def end_of(summary: Summary, counted: Event | None, stop_text: str | None = None) -> End:
    """Return the end of a stream. counted: the chunk in which the upstream says what it counted."""
    cost, version = usd_string(summary.cost.usd), summary.price_version
    if counted is not None:
        answer = _answer.decode(counted.data)
        return End(
            summary.finish_reason, _usage_of(answer.usage, cost, version), stop_text, service_tier=answer.service_tier
        )
    billed = summary.cost.tokens
    usage = Usage(billed.input + billed.cached_input, billed.cached_input, billed.output, 0, cost, version)
    return End(summary.finish_reason, usage, stop_text, is_cut=summary.status in _CUT)


def summary_of(earlier: Receipt) -> Summary:
    """Return how a request ended, as its receipt says."""
    versions = {
        "input": earlier.input_price_id,
        "cached_input": earlier.cached_input_price_id,
        "output": earlier.output_price_id,
    }
    counts = TokenCounts(earlier.input_tokens, earlier.cached_input_tokens, earlier.output_tokens)
    return Summary(
        Receipt.Status(earlier.status),
        Cost(counts, Decimal(earlier.cost_usd), 0, None, None, None),
        earlier.finish_reason,
        {kind: version for kind, version in versions.items() if version},
    )


def stop_text_of(choice: Choice) -> str | None:
    """Return the asked text that ended an answer, where the upstream names it."""
    return choice.stop_reason if isinstance(choice.stop_reason, str) else None


def _usage_of(fields: Mapping[str, object], cost: str, price_version: object) -> Usage:
    def count(value: object) -> int:
        return value if isinstance(value, int) and value > 0 else 0

    def detail(kind: str, name: str) -> int:
        details = fields.get(kind)
        return count(details.get(name)) if isinstance(details, dict) else 0

    return Usage(
        input=count(fields.get("prompt_tokens")),
        cached=detail("prompt_tokens_details", "cached_tokens"),
        output=count(fields.get("completion_tokens")),
        reasoning=detail("completion_tokens_details", "reasoning_tokens"),
        cost=cost,
        price_version=price_version,
    )
