"""The shape of the code base: sizes, names, and what may not appear where."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
from celery import current_app
from django.apps import apps
from django.conf import settings

from accounts.management.commands.permission_table import permission_table
from portal.lib.jobs import ORGANIZATION_HEADER
from portal.lib.tasks import OrganizationMissing, PortalTask

ROOT = Path(__file__).resolve().parent.parent
APPS = ["accounts", "catalog", "billing", "compute", "inference"]
FOLDERS = ["portal", *APPS]
LONGEST = 400  # most are under 300; beyond this a module says why


def modules(*folders: str) -> list[Path]:
    return [
        path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if "migrations" not in path.parts
    ]


def test_a_long_module_says_why_on_its_first_line():
    too_long = {}
    for path in modules(*FOLDERS, "dev"):
        lines = path.read_text().splitlines()
        if len(lines) > LONGEST and not lines[0].startswith("# Long because "):
            too_long[str(path.relative_to(ROOT))] = len(lines)

    assert not too_long


def floats_in(path: Path) -> list[str]:
    text = path.read_text()
    found = []
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.expr)]
    for node in nodes:
        is_float = (isinstance(node, ast.Constant) and isinstance(node.value, float)) or (
            isinstance(node, ast.Name) and node.id == "float"
        )
        # Of decimals a division is exact enough to be meant; of integers it makes a float.
        is_division = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and "Decimal" not in text
        if is_float or is_division:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_money_is_never_a_float():
    found = [place for path in modules("billing") for place in floats_in(path)]
    found += [place for name in ("money", "periods") for place in floats_in(ROOT / "portal" / "lib" / f"{name}.py")]

    assert not found


def enqueued_names() -> dict[str, str]:
    """Every task name that a service enqueues, with the place."""
    names = {}
    for path in modules(*FOLDERS):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="enqueue"), args=[ast.Constant(value=str(name)), *_]):
                    names[name] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return names


def portal_tasks() -> list[PortalTask]:
    current_app.loader.import_default_modules()
    ours = [task for name, task in sorted(current_app.tasks.items()) if not name.startswith("celery.")]
    # portal.celery says so for every task of the application.
    assert all(isinstance(task, PortalTask) for task in ours)
    return [task for task in ours if isinstance(task, PortalTask)]


def test_every_job_that_is_named_exists():
    registered = {task.name for task in portal_tasks()}
    scheduled = {entry["task"]: "portal/schedule.py" for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    unknown = {name: place for name, place in (enqueued_names() | scheduled).items() if name not in registered}

    assert not unknown


def test_every_job_says_its_app():
    wrong = [
        task.name for task in portal_tasks() if task.name.split(".")[0] not in FOLDERS or task.name.count(".") != 1
    ]

    assert not wrong


@pytest.mark.parametrize("task", portal_tasks(), ids=lambda task: task.name)
def test_a_task_of_an_organization_refuses_to_run_without_one(task: PortalTask):
    if task.platform:
        return
    task.push_request(headers={})
    try:
        with pytest.raises(OrganizationMissing):
            task()
    finally:
        task.pop_request()
    assert ORGANIZATION_HEADER == "organization_id"


def test_beat_only_runs_tasks_across_organizations():
    by_name = {task.name: task for task in portal_tasks()}

    assert [
        entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values() if not by_name[entry["task"]].platform
    ] == []


def test_every_app_has_tests_of_its_own():
    built = [app for app in APPS if list((ROOT / app / "services").glob("[a-z]*.py"))]
    untested = [app for app in built if not list((ROOT / "tests" / app).glob("test_*.py"))]

    assert not untested


def test_the_table_of_permissions_is_the_one_that_the_code_has():
    written = (ROOT / "docs" / "permissions.md").read_text()

    assert written == permission_table(), "run: dev/with dev python manage.py permission_table > docs/permissions.md"


def test_only_the_adapter_takes_callbacks_of_libraries():
    """Nothing happens by itself: no signal receivers, no save() or delete() with rules (house style R10)."""
    found = []
    for path in modules(*APPS):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef(name="save" | "delete", args=ast.arguments(args=[ast.arg(arg="self"), *_])):
                    if "models" in path.parts:
                        found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
                case ast.ImportFrom(module="django.db.models.signals" | "django.dispatch"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert not found


def test_every_app_is_installed_once_and_named_after_its_folder():
    labels = [config.label for config in apps.get_app_configs() if config.name in FOLDERS]

    assert sorted(labels) == sorted(FOLDERS)
    assert all(import_module(folder) for folder in FOLDERS)
