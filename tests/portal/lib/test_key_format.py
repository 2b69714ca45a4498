"""Keys as text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.lib.key_format import KeyKind, digest_of, kind_of, new_secret


@pytest.mark.parametrize("kind", list(KeyKind))
def test_makes_keys_that_one_double_click_selects(kind):
    secret = new_secret("hr", kind)

    assert re.fullmatch(rf"hr_{kind.value}_[0-9A-Za-z]{{40}}", secret)
    assert kind_of(secret, "hr") is kind


@given(st.integers(0, 47), st.characters(codec="utf-8"))
def test_refuses_a_key_with_one_character_changed(position, character):
    secret = new_secret("hr", KeyKind.LIVE)
    changed = secret[:position] + character + secret[position + 1 :]

    assert changed == secret or kind_of(changed, "hr") is None


@pytest.mark.parametrize("end", ["\n", " ", "\0", "a"])
def test_refuses_a_key_with_something_behind_it(end):
    assert kind_of(new_secret("hr", KeyKind.LIVE) + end, "hr") is None


def test_refuses_a_key_of_another_brand():
    assert kind_of(new_secret("hr", KeyKind.LIVE), "zz") is None


def test_digests_differ_by_pepper():
    assert digest_of("x", "one") != digest_of("x", "two")
