"""Words: whatever the script, offsets are right and no character of a word is lost."""

import random
import unicodedata

import pytest

from headstart.data.words import Sentence, sentence, spaced

SAMPLES = (
    "John's dog didn't see the well-known O'Neill, U.S. agent no. 2.5 in São Paulo.",
    "L'été jusqu'à aujourd'hui, l’Ouémé et les États-Unis n'ont pas 12,5 %.",
    "هذا نص عربي مع تَشْكِيل و\u200fعلامات، و 123.",
    "עברית עם נִיקּוּד",
    "हिन्दी में मात्राएँ और क्‍ष जोड़",
    "東京は日本の首都です。서울은 한국의 수도다.",
    "e\u0301te\u0301 cafe\u0301 a\u0308\u0323",
    "👩‍👩‍👧‍👦 and 🏳️‍🌈 👍🏽 🇫🇷🇩🇪 ✈️ ok",
    "zero\u200bwidth\ufeff and\u00a0no-break\u2028line\ttab\r\nnew",
    "\u0301starts with a mark",
    "\x00\x1b[31m control",
)


def check(row: Sentence) -> None:
    """Every word stands where it says, in order, and only spaces lie between."""
    end = 0
    for word, start in zip(row.words, row.starts, strict=True):
        assert word
        assert row.text[start : start + len(word)] == word
        assert start >= end
        assert row.text[end:start].strip() == ""
        end = start + len(word)
    assert row.text[end:].strip() == ""


@pytest.mark.parametrize("text", [*SAMPLES, "", " ", "\n\n"])
def test_words_stand_where_they_say(text):
    check(sentence(text))


def test_any_characters_at_all():
    generator = random.Random(0)
    samples = "".join(SAMPLES)
    for _ in range(300):
        some = [chr(generator.randrange(0x110000)) for _ in range(generator.randrange(30))]
        some += generator.choices(samples, k=generator.randrange(60))
        generator.shuffle(some)
        check(sentence("".join(some)))


@pytest.mark.parametrize("text", SAMPLES)
def test_no_word_begins_with_what_modifies_the_one_before(text):
    row = sentence(text)
    for word, start in zip(row.words, row.starts, strict=True):
        is_mark = unicodedata.category(word[0])[0] == "M" or word[0] == "\u200d"
        assert not is_mark or start == 0 or text[start - 1].isspace()


def test_emoji_stay_whole():
    words = sentence("👩‍👩‍👧‍👦 and 🏳️‍🌈👍🏽 🇫🇷🇩🇪").words
    assert words == ("👩‍👩‍👧‍👦", "and", "🏳️‍🌈", "👍🏽", "🇫🇷", "🇩🇪")


def test_apostrophes_of_two_languages():
    assert sentence("John's can't O'Neill").words == ("John", "'s", "ca", "n't", "O'Neill")
    assert sentence("l’Ouémé jusqu'ici aujourd'hui").words == (
        "l’", "Ouémé", "jusqu'", "ici", "aujourd'hui",
    )  # fmt: skip


def test_a_megabyte_in_one_line():
    row = sentence("abc, " * 200_000)
    assert len(row) == 400_000
    assert row.place(399_999, 400_000) == (999_998, 999_999)
    assert len(sentence("a" * 1_000_000)) == 1


def test_spaced_words_stand_where_they_say():
    row = spaced(["a b", "", "c"])
    assert row.text == "a b  c"
    assert row.place(0, 3) == (0, 6)
