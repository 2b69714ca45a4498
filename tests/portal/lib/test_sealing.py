"""What is sealed opens with its key and in its place only, and changing keys leaves the secret as it was."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.checks import portal_settings
from portal.lib.sealed import SealedColumn
from portal.lib.sealing import (
    NotSealedForThis,
    SealingError,
    UnknownKey,
    UnreadableKeys,
    check_keys,
    is_known_key,
    key_id_of,
    needs_reseal,
    newest_header,
    reseal,
    seal,
    seal_text,
    unseal,
    unseal_text,
)

OLD, NEW, OTHER = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
HERE = "some_table.secret:row_1"


@pytest.fixture(autouse=True)
def one_key(settings):
    settings.KEY_ENCRYPTION_KEYS = [OLD]


@given(st.text(), st.text())
def test_a_secret_comes_back_as_it_was(plain, context):
    assert unseal(seal(plain, context=context), context=context) == plain


def test_no_two_seals_of_a_secret_are_alike_and_none_shows_it():
    sealed = [seal("JBSWY3DPEHPK3PXP", context=HERE) for _ in range(100)]

    assert len(set(sealed)) == 100
    assert not any(b"JBSWY3DP" in one for one in sealed)


@pytest.mark.parametrize("elsewhere", ["some_table.secret:row_2", "some_table.other:row_1", "", HERE + " "])
def test_it_does_not_open_in_another_place(elsewhere):
    sealed = seal("secret", context=HERE)

    with pytest.raises(NotSealedForThis):
        unseal(sealed, context=elsewhere)
    with pytest.raises(NotSealedForThis):
        reseal(sealed, context=elsewhere)


def test_no_changed_byte_goes_unnoticed():
    sealed = seal("secret", context=HERE)

    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(SealingError):
            unseal(changed, context=HERE)
        with pytest.raises(SealingError):
            reseal(changed, context=HERE)


def test_what_is_cut_or_was_never_sealed_says_so():
    sealed = seal("secret", context=HERE)

    for raw in (b"", b"secret", *(sealed[:length] for length in range(len(sealed)))):
        with pytest.raises(NotSealedForThis):
            unseal(raw, context=HERE)
    for text in ("", "secret", "sealed:", "sealed:???", "sealed:é", seal_text("s", context=HERE)[:-4]):
        with pytest.raises(NotSealedForThis):
            unseal_text(text, context=HERE)


def test_data_keys_of_two_secrets_cannot_be_exchanged():
    one, other = seal("one secret", context=HERE), seal("two secret", context=HERE)

    with pytest.raises(NotSealedForThis):
        unseal(one[:-38] + other[-38:], context=HERE)


def test_a_new_key_in_front_writes_and_the_old_one_still_reads(settings):
    sealed = seal("secret", context=HERE)
    assert not needs_reseal(sealed)

    settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]

    assert unseal(sealed, context=HERE) == "secret"
    assert needs_reseal(sealed)
    assert not needs_reseal(seal("secret", context=HERE))


def test_rewrapping_changes_the_key_and_leaves_what_it_encrypts(settings):
    sealed = seal("secret", context=HERE)
    settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]

    fresh = reseal(sealed, context=HERE)

    assert not needs_reseal(fresh)
    assert fresh[-34:] == sealed[-34:]
    settings.KEY_ENCRYPTION_KEYS = [NEW]
    assert unseal(fresh, context=HERE) == "secret"
    with pytest.raises(UnknownKey, match="not in KEY_ENCRYPTION_KEYS"):
        unseal(sealed, context=HERE)


def test_a_missing_key_is_named_by_its_id_and_nothing_secret_is_said(settings):
    sealed, old_id = seal("secret", context=HERE), key_id_of(newest_header())
    settings.KEY_ENCRYPTION_KEYS = [OTHER]

    with pytest.raises(UnknownKey) as raised:
        unseal(sealed, context=HERE)

    assert old_id in str(raised.value)
    assert not any(word in str(raised.value) for word in ("secret", OLD, OTHER))
    assert not is_known_key(old_id)
    assert is_known_key(key_id_of(newest_header()))


def test_both_spellings_of_base64_are_one_key(settings):
    settings.KEY_ENCRYPTION_KEYS = [base64.b64encode(b"\xff" * 32).decode()]
    sealed = seal("secret", context=HERE)

    settings.KEY_ENCRYPTION_KEYS = [base64.urlsafe_b64encode(b"\xff" * 32).decode()]

    assert unseal(sealed, context=HERE) == "secret"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "there is no key"),
        (["short"], "entry 1"),
        ([OLD, "AAAA"], "entry 2 has 3 bytes"),
        ([OLD + "!"], "entry 1 is not base64"),
    ],
)
def test_what_is_no_key_stops_the_check_and_every_use(settings, entries, reason):
    settings.KEY_ENCRYPTION_KEYS = entries

    with pytest.raises(UnreadableKeys, match=reason):
        check_keys(entries)
    with pytest.raises(UnreadableKeys):
        seal("secret", context=HERE)
    assert "portal.E002" in [message.id for message in portal_settings(None)]


def test_a_column_binds_to_its_row():
    column = SealedColumn("some_table", "secret")
    sealed = column.seal("secret", row="row_1")

    assert column.unseal(memoryview(sealed), row="row_1") == "secret"
    assert unseal(sealed, context=HERE) == "secret"
    with pytest.raises(NotSealedForThis):
        column.unseal(sealed, row="row_2")
