"""The full count of test_whole_machine.py in slices, each with a seed of its own: `make prove-machine`."""

import os
from pathlib import Path

import pytest

from tests.billing.test_whole_machine import Whole, run

# What dev/prove_machine.py asks for: seeds, runs in each, and the file that takes the seeds of those that hold.
SEEDS = [int(number) for number in os.environ.get("MACHINE_SEEDS", "").split()]
RUNS = int(os.environ.get("MACHINE_RUNS", "0"))
HELD = os.environ.get("MACHINE_HELD", "")
STEPS = 50


@pytest.mark.skipif(not SEEDS, reason="only for make prove-machine")
@pytest.mark.django_db
@pytest.mark.parametrize("number", SEEDS)
def test_a_slice_keeps_the_books(number: int):
    run(Whole, RUNS, STEPS, from_seed=number)

    with Path(HELD).open("a") as held:
        held.write(f"{number}\n")
