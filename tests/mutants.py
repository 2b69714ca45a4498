"""Keys that are nearly right, by the mistakes of people, programs and attackers."""

import os
import random
import string
from collections.abc import Iterator

MUTANTS = 10_000 if os.environ.get("PROVE") else 2_000
BASE62 = string.ascii_letters + string.digits


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
