"""A process that runs one file of tests again and again, each time without another filter of the organization.

Started by tests/test_tenant_mutants.py as a worker of the suite's, for filters that no question of its own reaches:
`python -m tests.mutated STATES FILE MUTANT…`. Prints a line of JSON for each mutant: whether the file's tests passed
without the filter while what they serve went past row-level security (`off`) and while it was held back (`on`).
STATES: which of the two, with a comma between them.
"""

import json
import sys

import pytest


def worker_for(worker: str) -> str:
    """Return whom it stands for when that worker of the suite starts it, or none: a worker that no run has."""
    return f"gw{7 + int(worker.removeprefix('gw') or 0)}"


def passes(file: str) -> bool:
    """Run the file until the first failure and return whether there was none."""
    return pytest.main(["-x", "-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", file]) == 0


def main(states: list[str], file: str, names: list[str]) -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    assert passes(file), f"{file} fails as it is"
    # Only now is everything imported that the file's tests run.
    import tests.support  # noqa: PLC0415
    from tests.own_database import SUPERUSER  # noqa: PLC0415
    from tests.tenant_mutants import Surgery, mutants  # noqa: PLC0415

    role_of = {"off": SUPERUSER, "on": tests.support.SERVED_AS}
    tests.support.SERVED_AS = SUPERUSER
    assert passes(file), f"{file} fails without row-level security alone"
    for mutant in [each for each in mutants() if each.name in names]:
        found = {}
        with Surgery().done(mutant):
            for state in states:
                tests.support.SERVED_AS = role_of[state]
                found[state] = passes(file)
        print(json.dumps({"mutant": mutant.name, **found}), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2], sys.argv[3:])
