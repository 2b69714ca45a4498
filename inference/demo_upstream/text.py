"""What the demonstration server says, and how it counts: deterministic, and no intelligence anywhere."""

import hashlib
import re
from collections.abc import Iterable
from itertools import count

TOKENIZER = "one token per started four characters of a word, one per other visible character"
DIMENSIONS = 64

_PIECES = re.compile(r"\w{1,4}|[^\w\s]")
_TOKENS = re.compile(r"\s*(?:\w{1,4}|[^\w\s])\s*$|\s*(?:\w{1,4}|[^\w\s])")

_OPENING = "This is a demonstration server, not a model. You wrote {words} words"
_PHRASES = (
    "surplus compute is work that a machine could do today",
    "we count every token and meter every second",
    "what it costs is printed beside what it did",
    "the owner's own work keeps its priority",
    "an empty answer is free",
)


def count_tokens(text: str) -> int:
    """Return the number of tokens by TOKENIZER: never more than the text has bytes."""
    return len(_PIECES.findall(text))


def split_tokens(text: str) -> list[str]:
    """Return the text in pieces of one token each, white space kept; joined they are the text."""
    return [found.group() for found in _TOKENS.finditer(text)]


def answer_tokens(prompt: str) -> Iterable[str]:
    """Yield the answer to a prompt token by token, without an end: the same prompt always gets the same."""
    words = prompt.split()
    opening = _OPENING.format(words=len(words))
    yield from split_tokens(f'{opening}, the last of them "{words[-1][:40]}".' if words else f"{opening}.")
    digest = hashlib.sha256(prompt.encode()).digest()
    for number in count():
        yield from split_tokens(f" {_PHRASES[digest[number % len(digest)] % len(_PHRASES)].capitalize()}.")


def natural_length(prompt: str) -> int:
    """Return after how many tokens the answer to this prompt ends by itself."""
    return 40 + hashlib.sha256(prompt.encode()).digest()[0] % 25


def embedding(text: str) -> list[float]:
    """Return a unit vector that depends on the text alone."""
    digest = b"".join(hashlib.sha256(f"{number}:{text}".encode()).digest() for number in range(DIMENSIONS // 32))
    raw = [byte - 127.5 for byte in digest]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]
