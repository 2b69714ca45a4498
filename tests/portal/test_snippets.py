import ast

import pytest

from portal.lib.snippets import KEY_VARIABLE, chat_snippets, embedding_snippets

BASE_URL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize("make", [chat_snippets, embedding_snippets])
def test_programs_name_the_model_the_address_and_the_variable_of_the_key(make):
    snippets = make(BASE_URL, "bge-m3")

    assert [snippet.slug for snippet in snippets] == ["curl", "python", "javascript"]
    for snippet in snippets:
        assert BASE_URL in snippet.text
        assert "bge-m3" in snippet.text
        assert KEY_VARIABLE in snippet.text


@pytest.mark.parametrize("make", [chat_snippets, embedding_snippets])
def test_the_python_program_is_python(make):
    program = next(snippet.text for snippet in make(BASE_URL, "bge-m3") if snippet.slug == "python")

    ast.parse(program)


def test_where_the_key_is_shown_once_it_is_in_the_programs():
    for snippet in chat_snippets(BASE_URL, "bge-m3", secret="hr_live_x"):
        assert "hr_live_x" in snippet.text
        assert KEY_VARIABLE not in snippet.text
