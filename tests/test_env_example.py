"""`.env.example` names exactly what the settings read, and says of each what it is."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READERS = {"text", "secret", "flag", "number", "decimal", "names", "database"}


def read_by_settings() -> set[str]:
    tree = ast.parse((ROOT / "portal" / "settings.py").read_text())
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="env"), attr=reader), args=[name, *_]):
                assert reader in READERS, f"portal.env.{reader} is not known here"
                assert isinstance(name, ast.Constant), "settings read a name that is not written out"
                names.add(str(name.value))
    return names


def named_in_example() -> list[tuple[str, str]]:
    """Return (name, the line above) of every variable."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return [
        (line.partition("=")[0], lines[number - 1])
        for number, line in enumerate(lines)
        if "=" in line and not line.startswith("#")
    ]


def test_names_exactly_what_the_settings_read():
    named = [name for name, _ in named_in_example()]

    assert set(named) == read_by_settings()
    assert len(named) == len(set(named))


def test_says_of_each_variable_what_it_is():
    unexplained = [name for name, above in named_in_example() if not above.startswith("# ") or "---" in above]

    assert not unexplained


# Who else looks at the environment, and why that is no setting.
OTHER_READERS = {
    "portal/env.py",
    # The entry points say which settings module is meant.
    "portal/asgi.py",
    "portal/wsgi.py",
    "portal/celery.py",
    # The local engine hands its own environment on to the processes that it starts.
    "compute/backends/local.py",
    "compute/backends/local_server.py",
    # Programs of their own that know nothing of the portal's settings.
    "inference/demo_upstream/__main__.py",
    "billing/demo_stripe/__main__.py",
    # Tests plant a crash there.
    "portal/lib/crashpoints.py",
}


def looks_at_the_environment(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_nothing_but_portal_env_reads_the_environment():
    apps = ("portal", "accounts", "catalog", "billing", "compute", "inference")
    readers = {
        str(path.relative_to(ROOT))
        for app in apps
        for path in (ROOT / app).rglob("*.py")
        if looks_at_the_environment(path)
    }

    assert readers <= OTHER_READERS
