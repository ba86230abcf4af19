"""The jobs of a ranking: decided by numbers alone, and samples that hold one another."""

import numpy as np
import pytest

from headstart.ranking.candidates import allows
from headstart.ranking.schedule import Round, cost, order, schedule
from headstart.task import Kind, Task


@pytest.mark.parametrize("n", [2, 10, 199, 200, 1000, 10**6])
@pytest.mark.parametrize("budget", [None, 0.001, 5.0, 1e9])
@pytest.mark.parametrize("n_sources", [1, 2, 3, 5, 12])
def test_rounds_grow_and_fit_the_budget_where_one_can(n, budget, n_sources):
    seconds = list(np.linspace(0.001, 0.02, n_sources))
    rounds = schedule(n, 3, seconds, budget)
    sizes = [one.n_rows for one in rounds]
    assert sizes == sorted(set(sizes)) and sizes[-1] <= min(n, 2000)
    assert sizes[0] >= min(n, 200) and rounds[0].n_sources == n_sources
    takes = [one.n_sources for one in rounds]
    assert takes == sorted(takes, reverse=True)
    least = (Round(min(n, 200), n_sources),)
    assert budget is None or cost(rounds, seconds) <= budget or rounds == least


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [(50, 50), (200, 20, 2), (7,) * 30])
def test_every_beginning_is_stratified(counts, seed):
    targets = np.repeat(np.arange(len(counts)), counts)
    task = Task(Kind.MULTICLASS, tuple(map(str, range(len(counts)))))
    rows = order(targets, task, seed)
    assert sorted(rows.tolist()) == list(range(len(targets)))
    for n in range(2 * len(counts), len(targets), 7):
        found = np.bincount(targets[rows[:n]], minlength=len(counts))
        wanted = n * np.array(counts) / sum(counts)
        assert found.min() >= 2
        assert np.abs(found - wanted).max() <= 2 + len(counts) * 0.5


@pytest.mark.parametrize(
    ("asked", "license", "is_allowed"),
    [
        ("permissive", "Apache-2.0 (the original weights; the package states none)", True),
        ("permissive", "MIT (the package's metadata; no license file)", True),
        ("permissive", "CC-BY-NC-SA-4.0", False),
        ("permissive", "AGPL-3.0", False),
        ("permissive", "Mitsubishi", False),
        ("MIT, Apache-2.0", "Apache-2.0", True),
        ("MIT", "unknown", False),
    ],
)
def test_licenses(asked, license, is_allowed):
    assert allows(asked, license) is is_allowed
