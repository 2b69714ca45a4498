"""The embedded services of a checkout are its own: other programs of the machine reach their ports, not their data."""

from urllib.parse import urlsplit

import psutil
import pytest
import redis

from dev.services import Valkey

pytestmark = pytest.mark.processes


@pytest.fixture
def valkey(tmp_path):
    server = Valkey(tmp_path / "valkey")
    server.start()
    yield server
    server.stop()


def test_valkey_answers_nobody_without_this_checkouts_password(valkey):
    with redis.Redis(port=valkey.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("anything")
    with redis.Redis.from_url(valkey.url()) as portal:
        assert portal.ping()


def test_the_password_is_not_in_the_list_of_processes(valkey):
    password = urlsplit(valkey.url()).password
    server = psutil.Process(int((valkey.folder / "pid").read_text()))
    assert len(password) > 20
    assert password not in " ".join(server.cmdline())
