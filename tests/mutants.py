"""Keys that are nearly right, by the mistakes of people, programs and attackers."""

import os
import random
import string
import zlib
from collections.abc import Iterator

PROVE = bool(os.environ.get("PROVE"))
# Refused inside a process, and sent over HTTP.
MUTANTS, SENT_MUTANTS = (1_000_000, 10_000) if PROVE else (2_000, 2_000)
# Those that only the database can tell from good ones.
UNKNOWN = 3_000 if PROVE else 100
BASE62 = string.ascii_letters + string.digits
# Of the checksum, in the order of contracts 1.
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def mutants(secret: str, count: int) -> Iterator[str]:
    """Yield keys that are nearly `secret`, each by one seeded mistake of the catalog (N1), and never `secret`."""
    chance = random.Random(20261122)
    changes = [
        lambda s, i: s[:i] + chance.choice(BASE62) + s[i + 1 :],
        lambda s, i: s[:i] + s[i + 1 :],
        lambda s, i: s[:i] + chance.choice(BASE62) + s[i:],
        lambda s, i: s[:i] + s[i : i + 2][::-1] + s[i + 2 :],
        lambda s, i: s[:i] + s[i].swapcase() + s[i + 1 :],
        lambda s, i: s[:i] + chance.choice("éа０\u200b") + s[i + 1 :],
        lambda s, i: s[:i] + "\x00" + s[i:],
        lambda s, i: s + chance.choice(["\n", " ", "\r\n", "%00", "\t"]),
        lambda s, i: s[:i],
        lambda s, i: s.replace("_live_", chance.choice(["_test_", "_mgmt_", "_op_", "_", "_LIVE_"])),
        lambda s, i: s * 2,
        lambda s, i: "",
    ]
    made = 0
    while made < count:
        mutant = chance.choice(changes)(secret, chance.randrange(len(secret)))
        if mutant != secret:
            made += 1
            yield mutant


def unknown_keys(kinds: tuple[str, ...], count: int) -> Iterator[str]:
    """Yield keys with random bodies and the checksums that belong to them: well-formed, and nobody's."""
    chance = random.Random(20261123)
    for _ in range(count):
        body = f"hr_{chance.choice(kinds)}_{''.join(chance.choices(BASE62, k=34))}"
        number, checksum = zlib.crc32(body.encode()), ""
        for _ in range(6):
            number, digit = divmod(number, len(BASE62))
            checksum = DIGITS[digit] + checksum
        yield body + checksum


def fits_a_header(secret: str) -> bool:
    """Whether it can be sent as it is: a header has no control characters in it and no space around it."""
    return bool(secret) and secret.isprintable() and secret.strip() == secret
