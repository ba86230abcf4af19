"""The ranking on the page: drawn whole, escaped, and left out where the source was named."""

import dataclasses
import re

import pytest

from headstart.evidence import report
from headstart.evidence.page.sources import front, sources
from tests.toy_study import toy_evidence


def row(uri, score, latency_ms, **more):
    return {
        "uri": uri, "score": [score - 0.1, score, score + 0.1], "latency_ms": latency_ms,
        "is_tied": False, "boundary": None, "by_boundary": {"4": 0.5, "8": score}, "n_rows": 200,
        "memory_bytes": 30e6, "n_parameters": 2_000_000, "license": "MIT (card)", "logme": 0.1,
    } | more  # fmt: skip


def with_ranking(*rows, left_out=(), notes=()):
    ranking = {
        "rows": list(rows), "measure": "accuracy", "left_out": list(left_out), "notes": list(notes)
    }  # fmt: skip
    found = toy_evidence()
    return dataclasses.replace(found, source=found.source | {"ranking": ranking})


def test_the_page_shows_what_else_there_was():
    gone = {"uri": "pkg:gone", "reason": "not here"}
    found = with_ranking(
        row("pkg:best", 0.9, 50.0), row("pkg:quick", 0.8, 5.0), row("pkg:bad", 0.7, 60.0),
        left_out=[gone], notes=["A tie."],
    )  # fmt: skip
    page, text = report.html(found), report.markdown(found)
    assert "No other source is both faster and better than quick, best." in page
    assert page.count("Score and latency of the sources") == 2  # for a desk, and for a phone
    assert page.count("Score by boundary") == 2
    for said in ("pkg:gone: not here", "A tie.", "0.800 to 1.000"):
        assert said in page
    assert "| best | 0.900 |" in text and "left out: pkg:gone" in text


def test_a_named_source_has_no_such_part():
    assert sources(toy_evidence()) is None
    assert "What it might have started from" not in report.html(toy_evidence())


def test_whole_sources_have_no_boundaries_to_draw():
    found = sources(with_ranking(row("pkg:one", 0.9, 5.0, by_boundary={"top": 0.9})))
    assert found["boundaries"] is None and found["latency"]["wide"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><i>x', "a\x1b[2J", "é" * 300])
def test_no_uri_gets_out_of_its_place(name):
    page = report.html(with_ranking(row(f"file:{name}", 0.9, 5.0), row("pkg:b", 0.8, 4.0)))
    assert name not in page or not re.search("[<>]", name)


def test_the_front_holds_what_nothing_beats():
    costs, scores = [3.0, 1.0, 2.0, 2.0], [0.9, 0.5, 0.5, 0.8]
    assert front(costs, scores) == [1, 3, 0]
    for at in range(4):
        beaten = any(
            costs[i] <= costs[at] and scores[i] >= scores[at] and i != at for i in range(4)
        )
        assert (at in front(costs, scores)) is not beaten
