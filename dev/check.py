"""`make check`: every gate that needs no test, in the order of how fast each fails."""

import os
import subprocess
import sys

import dev.testing
from dev.paths import ROOT

PRODUCTION = {
    "DEVELOPMENT": "false",
    "PORTAL_URL": "https://portal.example",
    "ALLOWED_HOSTS": "portal.example",
    "SECRET_KEY": "a long placeholder for the deployment check, with many different characters: 0123456789",
}


def templates() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "templates/*.html"], cwd=ROOT, capture_output=True, text=True)
    return listed.stdout.split()


def main() -> int:
    steps = [
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["djade", "--check", "--target-version", "6.0", *templates()],
        ["lint-imports"],
        ["mypy", "."],
        ["python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        ["python", "manage.py", "makemigrations", "--check", "--dry-run"],
    ]
    environment = {**dev.testing.placeholders(), **os.environ, **PRODUCTION}
    failed = []
    for step in steps:
        print("·", " ".join(step[:4]), flush=True)
        if subprocess.run(step, cwd=ROOT, env=environment).returncode != 0:
            failed.append(step[0] if step[0] != "python" else " ".join(step[1:3]))
    print("check:", f"failed: {', '.join(failed)}" if failed else "everything holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
