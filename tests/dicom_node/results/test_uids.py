"""Derived UIDs: well-formed, repeatable, and never the same for two things."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from dicom_node.results.uids import derive_uid, is_uid

words = st.lists(st.text(min_size=1), min_size=1, max_size=4)


@given(words)
def test_uid_is_valid_and_repeatable(parts: list[str]) -> None:
    uid = derive_uid(*parts)
    assert UID(uid).is_valid
    assert is_uid(uid)
    assert derive_uid(*parts) == uid


@given(words, words)
def test_other_words_give_another_uid(one: list[str], other: list[str]) -> None:
    assert (derive_uid(*one) == derive_uid(*other)) == (one == other)


def test_uid_stays_the_same_in_every_release() -> None:
    assert derive_uid("SEG", "1.2.3") == "2.25.45190448646749467183701112300172371140"


@pytest.mark.parametrize("parts", [(), ("",), ("SEG", "")])
def test_nothing_has_no_uid(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="non-empty words"):
        derive_uid(*parts)


@pytest.mark.parametrize("text", ["", "1.02", "1..2", "../etc", "1." + "2" * 63, "1.2\n"])
def test_malformed_uids_are_told_apart(text: str) -> None:
    assert not is_uid(text)
