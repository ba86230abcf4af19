"""Entity scores, against seqeval; the chain, against every path there is."""

import itertools
import random
import warnings

import numpy as np
import pytest

from headstart.data.ragged import ragged
from headstart.data.tags import tag_task
from headstart.metrics import chain as chains
from headstart.metrics.chain import (
    Chain,
    best_paths,
    blocks,
    legal_chain,
    legal_paths,
    marginals,
    passed,
)
from headstart.metrics.entities import by_type, counts, f1, f1_left_out, f1_rows
from headstart.metrics.scores import row_scores, scores

TASK = tag_task(["LOC", "PER"])


def sentences(seed, n=60):
    generator = random.Random(seed)
    sizes = [generator.randrange(1, 9) for _ in range(n)]
    return ragged(
        [np.array([generator.randrange(5) for _ in range(size)], dtype=np.int64) for size in sizes]
    )


def noisy(truth, seed):
    generator = random.Random(seed)
    return ragged(
        [np.array([generator.randrange(5) if generator.random() < 0.2 else c for c in row])
         for row in truth]
    )  # fmt: skip


def names(rows):
    return [[TASK.labels[code] for code in row] for row in rows]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_seqeval(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("seqeval.metrics")
        from seqeval.scheme import IOB2
    truth = sentences(seed)
    said = noisy(truth, seed + 100)
    a, b = names(truth), names(said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert f1(counts(truth, said)) == pytest.approx(metrics.f1_score(a, b))
        strict = metrics.f1_score(a, b, mode="strict", scheme=IOB2)
        report = metrics.classification_report(a, b, output_dict=True)
    assert f1(counts(truth, said, strict=True)) == pytest.approx(strict)
    for name, found in by_type(truth, said, ("LOC", "PER")).items():
        assert found["f1"] == pytest.approx(report[name]["f1-score"])
        assert found["n"] == report[name]["support"]


def test_what_a_sentence_gives_and_takes():
    truth = sentences(0)
    table = counts(truth, noisy(truth, 1))
    assert f1_rows(table).mean() == pytest.approx(f1(table))
    without = [f1(np.delete(table, i, axis=0)) for i in range(len(table))]
    assert f1_left_out(table) == pytest.approx(without)


def test_scores_of_probabilities():
    truth = ragged([np.array([1, 2, 0]), np.array([3])])
    sure = ragged([np.eye(5)[[1, 2, 0]], np.eye(5)[[0]]])
    found = scores(TASK, truth, sure)
    assert found["entity_f1"] == pytest.approx(2 / 3)
    assert (found["precision"], found["recall"]) == (1.0, 0.5)
    assert row_scores(TASK, truth, sure).mean() == pytest.approx(2 / 3)


# The chain


def problem(seed, k=3):
    """Sentences of 0 to 5 words, and a chain with forbidden steps."""
    rng = np.random.default_rng(seed)
    legal = legal_chain(k)
    chain = Chain(legal.start + rng.normal(size=k), legal.transition + rng.normal(size=(k, k)))
    return [rng.normal(size=(n, k)) * 3 for n in (1, 4, 0, 2, 5)], chain


def every_path(emission, chain):
    n, k = emission.shape
    paths = [np.array(path, dtype=np.int64) for path in itertools.product(range(k), repeat=n)]
    return paths, np.array([path_score(emission, path, chain) for path in paths])


def path_score(emission, path, chain):
    """Return the score of one path, step by step."""
    score = chain.start[path[0]] + sum(emission[i, tag] for i, tag in enumerate(path))
    return score + sum(chain.transition[a, b] for a, b in itertools.pairwise(path))


@pytest.mark.parametrize(("seed", "k"), [(0, 3), (1, 3), (2, 5)])
def test_the_best_path_is_the_best_of_all(seed, k):
    emissions, chain = problem(seed, k)
    for emission, path in zip(emissions, best_paths(emissions, chain), strict=True):
        if len(emission):
            paths, totals = every_path(emission, chain)
            assert path.tolist() == paths[int(totals.argmax())].tolist()


@pytest.mark.parametrize(("seed", "k"), [(0, 3), (1, 3), (2, 5)])
def test_marginals_are_the_sum_over_all_paths(seed, k):
    emissions, chain = problem(seed, k)
    (block,) = blocks(emissions)
    found, told = passed(block, chain), marginals(emissions, chain)
    totals_of = dict(zip(block.at.tolist(), found.log_totals, strict=True))
    first, pairs = np.zeros(k), np.zeros((k, k))
    for i, emission in enumerate(emissions):
        if not len(emission):
            continue
        paths, totals = every_path(emission, chain)
        share = np.exp(totals - totals.max())
        share /= share.sum()
        wanted = np.zeros_like(emission)
        for path, part in zip(paths, share, strict=True):
            wanted[np.arange(len(path)), path] += part
            first[path[0]] += part
            np.add.at(pairs, (path[:-1], path[1:]), part)
        assert told[i] == pytest.approx(wanted)
        total = totals.max() + np.log(np.exp(totals - totals.max()).sum())
        assert totals_of[i] == pytest.approx(total)
    assert found.first == pytest.approx(first)
    assert found.pairs == pytest.approx(pairs)


def test_far_apart_scores_do_not_overflow():
    emission = np.array([[0.0, 0.0, 5000.0], [0.0, 0.0, 5000.0]])
    (block,) = blocks([emission])
    found = passed(block, legal_chain(3))
    assert np.isfinite(found.log_totals).all()
    assert found.marginals[0].sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_long_sentence_does_not_stretch_the_others(monkeypatch):
    monkeypatch.setattr(chains, "BLOCK_WORDS", 40)
    emissions, chain = problem(0)
    emissions.append(np.random.default_rng(1).normal(size=(90, 3)))
    shapes = [block.emissions.shape for block in blocks(emissions)]
    assert shapes == [(4, 5, 3), (1, 90, 3)]
    together, alone = marginals(emissions, chain), marginals(emissions[-1:], chain)
    assert together[-1] == pytest.approx(alone[0])


def test_a_legal_path_is_legal():
    rng = np.random.default_rng(0)
    from headstart.data.tags import illegal

    outputs = ragged([rng.dirichlet(np.ones(9), size=n) for n in rng.integers(1, 20, size=50)])
    assert not any(illegal(path).any() for path in legal_paths(outputs))
