"""`make prove-machine RUNS=20000`: the machine over all of billing, in slices that need not be run again.

A slice is a seed of its own; those that held are kept in var/prove/, by what the code is, and left out the next time.
Two slices run at once.
"""

import hashlib
import os
import subprocess
import sys

from dev.paths import ROOT, VAR

IN_A_SLICE = 100  # runs
TEST = "tests/billing/test_whole_slices.py"
# What a slice runs through; another change proves nothing anew.
CODE = ("accounts", "billing", "catalog", "portal/lib", "tests/billing")


def digest_of_code() -> str:
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def main() -> int:
    runs = int(sys.argv[1]) if sys.argv[1:] else 20_000
    held = VAR / "prove" / f"machine_{digest_of_code()}"
    held.parent.mkdir(parents=True, exist_ok=True)
    held.touch()
    done = {int(number) for number in held.read_text().split()}
    wanted = [seed for seed in range(1, -(-runs // IN_A_SLICE) + 1) if seed not in done]
    print(
        f"· {len(done) * IN_A_SLICE} runs of this code have held before; {len(wanted) * IN_A_SLICE} to go", flush=True
    )
    if not wanted:
        return 0
    environment = {
        **os.environ,
        "MACHINE_SEEDS": " ".join(map(str, wanted)),
        "MACHINE_RUNS": str(IN_A_SLICE),
        "MACHINE_HELD": str(held),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-x", TEST]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
