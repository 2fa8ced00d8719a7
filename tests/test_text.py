"""Text from outside: one spelling for all that reads it, nothing hidden in it, and an end to its length."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.text import LONGEST_LABEL, normalize, scrub

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"]),
        st.sampled_from("\x1b\x07\r\n\u0085\u2028\u200b\u200d\u202e\u2066\ufeff\u00ad\u3164\ufe0f\u0344"),
    ),
    max_size=120,
)
"""Text as an attacker writes it: what cannot be seen, what moves the rest about, halves of pairs, piles of marks."""


@pytest.mark.parametrize("spelling", ["load test ", "load  test", "load\u00a0test", "load\u200b test", "load\ntest"])
def test_spellings_that_look_alike_are_one_text(spelling: str) -> None:
    assert normalize(spelling) == "load test"


def test_letters_that_only_resemble_each_other_stay_two_texts() -> None:
    assert normalize("m²") != normalize("m2")
    assert normalize("e\u0301") == normalize("é")


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert normalize("a\ud800b") == "a\ufffdb"


def test_what_moves_a_terminal_or_turns_a_line_round_is_gone() -> None:
    assert normalize("\x1b[2J\x1b]0;owned\x07") == "[2J]0;owned"
    assert normalize("gpj.\u202eexe") == "gpj.exe"


@pytest.mark.parametrize("letter", ["a", "😀", "é", " x"])
@pytest.mark.parametrize("length", [500, 70_000])
def test_long_texts_are_bounded_in_bytes_and_stay_distinct(letter: str, length: int) -> None:
    texts = {normalize(letter * length + ending) for ending in ("1", "2", "3")}
    assert len(texts) == 3
    assert all(len(each.encode()) <= LONGEST_LABEL for each in texts)


def test_a_text_of_nothing_but_space_is_not_told_apart_by_what_nobody_reads() -> None:
    assert normalize(" " * 100_000 + "a") != normalize(" " * 100_000 + "b")


@given(HOSTILE, st.integers(40, 300))
def test_normalizing_twice_changes_nothing(text: str, most: int) -> None:
    assert normalize(normalize(text, most), most) == normalize(text, most)


@given(HOSTILE)
def test_a_normalized_text_can_be_stored_and_shows_all_it_has(text: str) -> None:
    found = normalize(text)
    assert len(found.encode()) <= LONGEST_LABEL
    assert found == found.strip() and "  " not in found and unicodedata.is_normalized("NFC", found)
    assert not [each for each in found if unicodedata.category(each)[0] == "C" or (each.isspace() and each != " ")]


@given(HOSTILE)
def test_what_people_read_is_spelled_like_the_label(text: str) -> None:
    assert scrub(text) == normalize(text, 10_000)
