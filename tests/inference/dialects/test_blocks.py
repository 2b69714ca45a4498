"""What answers consist of, of upstreams that speak in less usual ways."""

import msgspec
import pytest

from inference.gateway.answers import Choice
from inference.gateway.dialects.blocks import Blocks, Kind, What
from inference.gateway.upstream import UpstreamCut


def fed(*deltas: dict[str, object]) -> Blocks:
    blocks = Blocks("call_abc")
    for delta in deltas:
        list(blocks.feed(msgspec.convert({"delta": delta}, Choice)))
    list(blocks.end())
    return blocks


def call(index: object = None, **fields: object) -> dict[str, object]:
    return {"tool_calls": [({"index": index} if index is not None else {}) | fields]}


@pytest.mark.parametrize(
    ("delta", "kind", "text"),
    [
        ({"content": "a"}, Kind.TEXT, "a"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, Kind.TEXT, "ab"),
        ({"reasoning": "a"}, Kind.REASONING, "a"),
        # Servers on their way from one name to the other send both.
        ({"reasoning": "a", "reasoning_content": "a"}, Kind.REASONING, "a"),
        ({"refusal": "a"}, Kind.REFUSAL, "a"),
        (call(0, id="x", function={"name": "f", "arguments": {"b": 1}}), Kind.CALL, '{"b":1}'),
        (call(None, function={"name": "f"}), Kind.CALL, ""),
        (call("0", function={"name": "f", "arguments": "{}"}), Kind.CALL, "{}"),
    ],
)
def test_understands_what_servers_send(delta: dict[str, object], kind: Kind, text: str):
    [block] = fed(delta).all

    assert (block.kind, block.text, block.is_whole) == (kind, text, True)
    assert kind is not Kind.CALL or block.call_id in ("x", "call_abc_0")


@pytest.mark.parametrize("nothing", [{}, {"content": ""}, {"tool_calls": "x"}, {"tool_calls": [1]}, {"content": 5}])
def test_says_nothing_where_nothing_was_said(nothing: dict[str, object]):
    assert fed(nothing).all == []


def test_waits_for_the_name_of_a_tool_and_loses_nothing_without_one():
    later = fed(
        call(0, id="x"), call(0, function={"arguments": "{"}), call(0, function={"name": "f", "arguments": "}"})
    )
    never = fed(call(0, id="x", function={"arguments": "{}"}))

    assert [(block.call_id, block.name, block.text) for block in later.all] == [("x", "f", "{}")]
    assert [(block.call_id, block.name, block.text) for block in never.all] == [("x", "", "{}")]


def test_ends_a_block_before_the_next_begins():
    blocks = Blocks("call_abc")
    deltas = [{"reasoning": "a"}, {"content": "b"}, call(0, function={"name": "f"}), call(1, function={"name": "g"})]

    steps = [step for delta in deltas for step in blocks.feed(msgspec.convert({"delta": delta}, Choice))]
    steps += blocks.end()

    began_and_ended = [(step.what, step.block.index) for step in steps if step.what is not What.GREW]
    assert began_and_ended == [(what, index) for index in range(4) for what in (What.BEGAN, What.ENDED)]


def test_breaks_off_where_an_ended_call_goes_on():
    """Whoever was told that it has ended may have run the tool: going on would be a lie, and so would silence."""
    begun = [call(0, function={"name": "f", "arguments": "{"}), call(1, function={"name": "g", "arguments": "{"})]

    with pytest.raises(UpstreamCut):
        fed(*begun, call(0, function={"arguments": "}"}))
    assert len(fed(*begun, call(0, function={"arguments": ""})).all) == 2
