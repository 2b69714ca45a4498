"""A real SAML identity provider, pysaml2 with xmlsec1, in a process of its own: the standard as others read it.

It is Debian's and runs by the system's Python: pysaml2 asks for older cryptography than ours.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dev.services import free_port
from tests.doubles.real_provider import wait_for
from tests.doubles.saml_provider import certificate_of, key_named

PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).with_name("pysaml2_program.py")
MISSING = "pysaml2 was not found: run `apt-get install python3-pysaml2 xmlsec1`."
STOP_SECONDS = 30


@dataclass(frozen=True)
class RealSamlProvider:
    base: str
    partner: Path  # where it looks for the metadata of the portal

    @property
    def metadata_url(self) -> str:
        return f"{self.base}/metadata"


def has_pysaml2() -> bool:
    """Whether the system has it; without, the test is skipped, and with CI=true it fails."""
    found = subprocess.run([PYTHON, "-c", "import saml2"], capture_output=True) if Path(PYTHON).exists() else None
    if found is not None and found.returncode == 0:
        return True
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    return False


@contextmanager
def running_real_saml_provider(
    folder: Path, people: dict[str, dict[str, str]], *, signs: Sequence[str], host: str = "127.0.0.1"
) -> Iterator[RealSamlProvider]:
    """Run the provider for people: name on its page -> subject and mail. signs: Assertion, Response or both.

    host: as which the browser knows it; `localhost` is another site than 127.0.0.1.
    """
    if not has_pysaml2():
        pytest.skip(MISSING)
    key, port = key_named("real idp"), free_port()
    files = {name: folder / f"provider.{name}" for name in ("key", "cert", "sp", "log")}
    files["key"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    files["cert"].write_text(certificate_of(key))
    given = {
        "host": host,
        "port": port,
        "key": str(files["key"]),
        "cert": str(files["cert"]),
        "sp": str(files["sp"]),
        "signs": list(signs),
        "people": people,
    }
    with files["log"].open("wb") as output:
        process = subprocess.Popen(
            [PYTHON, str(PROGRAM), json.dumps(given)], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        wait_for(process, f"http://127.0.0.1:{port}/metadata", files["log"])
        yield RealSamlProvider(f"http://{host}:{port}", files["sp"])
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
