"""An independent judge: the FinOps Foundation's validator reads a file of costs with the rules of FOCUS 1.2.

It is installed into an environment of its own in var/ when it can be had, from wheels for Python 3.12 (two of its
packages are Python alone and have none): its numpy has no wheel for 3.13, and nothing is compiled here.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from billing.invoicing.focus import FocusRow
from billing.selectors.focus import focus_of_invoice
from dev.paths import ROOT
from portal.lib.exports import csv_lines
from tests.billing.test_focus import project
from tests.billing.test_services_invoices import DOLLAR, NOVEMBER, OCTOBER, ON_TERMS, allow, close, use
from tests.factories.billing import make_issued_note

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not os.environ.get("PROVE"), reason="its packages are large: only with PROVE=1"),
]
# It asks for no upper bound of pyarrow, whose newer ones want another numpy than it does.
PACKAGES = ("focus-validator==2.2.1", "pyarrow<20")
# What we do, besides what everybody does.
CRITERIA = "ACCOUNT_NAMING_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,SUB_ACCOUNT_SUPPORTED,TAGGING_SUPPORTED"
# Two of its rules say, of every row, that there is an invoice and that there is none: one of both always fails.
CONTRADICTS = {"InvoiceId-C-004-C"}
WITHOUT_WHEELS = ("focus-validator", "pandasql")
FOLDER = ROOT / "var" / "focus-validator"
__all__ = ["project"]


@pytest.fixture(scope="module")
def validator() -> Path:
    """Return the program, installed if need be; skips where it cannot be had."""
    program = FOLDER / "bin" / "focus-validator"
    if not program.exists():
        uv = shutil.which("uv") or str(ROOT / "var" / "tools" / "bin" / "uv")
        if not Path(uv).exists():
            pytest.skip("uv is not here, which brings the validator")
        wheels = ["--only-binary", ":all:", *(word for name in WITHOUT_WHEELS for word in ("--no-binary", name))]
        steps = (
            [uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", "3.12", str(FOLDER)],
            [uv, "pip", "install", "--quiet", "--python", str(FOLDER / "bin" / "python"), *wheels, *PACKAGES],
        )
        for step in steps:
            if subprocess.run(step, capture_output=True, timeout=300, check=False).returncode != 0:
                pytest.skip("the validator cannot be had here")
    return program


def test_the_validator_finds_nothing_but_what_contradicts_itself(validator, project, tmp_path):
    allow(project, 100)
    use(project, DOLLAR * 15 + 7)
    close(project, terms=ON_TERMS)
    use(project, DOLLAR * 2, OCTOBER.replace(day=22), now=NOVEMBER.start.replace(day=4))
    use(project, DOLLAR * 3, NOVEMBER.start.replace(day=5))
    invoice = close(project, now=NOVEMBER.end.replace(day=3), terms=ON_TERMS)
    note = make_issued_note(invoice, now=NOVEMBER.end.replace(day=4))
    file = tmp_path / "costs.csv"
    rows = list(focus_of_invoice(project.organization, invoice))
    assert {row.InvoiceId for row in rows} == {invoice.number, note.number}
    file.write_text("".join(csv_lines(FocusRow, rows)))

    done = subprocess.run(
        [
            *(validator, "--data-file", file, "--validate-version", "1.2.0.1", "--block-download"),
            *("--applicability-criteria", CRITERIA),
        ],
        # It looks for a list of currencies beside its packages.
        cwd=next(FOLDER.glob("lib/python3.*/site-packages")),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"❌ (\S+): FAIL", done.stdout)) <= CONTRADICTS, done.stdout
    assert len(re.findall(r"✅ (\S+): PASS", done.stdout)) > 150
