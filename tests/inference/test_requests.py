"""Bodies that are no JSON that anybody means are refused at every address, and are nobody's failure."""

import pytest

from inference.gateway.dialects.addresses import DIALECTS
from inference.gateway.errors import ApiError

# What each address reads, with room for one more field.
BODY = (
    b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "prompt": "x", "input": "x", %s}'
)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "field",
    [
        b'"model": "\xff"',
        # Read by nobody here, but by the model.
        b'"user": "\xff"',
        b'"stream": true, "stream_options": {"\xff": 1}',
        b'"\xff": 1',
        b'"tools": ' + b"[" * 100_000,
        b'"user": ' + b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=range(6),
)
def test_refuses_what_is_no_json(path: str, field: bytes):
    with pytest.raises(ApiError) as refused:
        DIALECTS[path].read(BODY % field)

    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


@pytest.mark.parametrize("path", DIALECTS)
def test_reads_what_it_would_have_refused(path: str):
    # To responses it is the name of a template, and those are kept nowhere.
    body = BODY.replace(b'"prompt"', b'"user"') if path.endswith("/responses") else BODY

    assert DIALECTS[path].read(body % b'"seed": 1').request.model == "m"
