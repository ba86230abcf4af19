"""Every card of the shelf brings a reference, and rows unlike it lie farther away."""

import dataclasses
import shutil

import numpy as np
import pytest

from headstart.metrics.divergence import frechet
from headstart.sources import packages
from headstart.sources.card import outline
from headstart.sources.reference import reference_of
from tests.toys import toy_text_source

CARDS = sorted(packages.CARDS.glob("*.toml"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_card_has_a_reference_for_its_weights(path):
    found = reference_of(outline(path, f"pkg:{path.stem}"))
    assert found is not None and found.rows
    assert found.mean.shape == found.std.shape and found.mean.ndim == 1
    assert np.isfinite(found.mean).all() and (found.std >= 0).all() and found.std.max() > 0


def test_other_weights_have_no_reference():
    source = outline(CARDS[0], f"pkg:{CARDS[0].stem}")
    assert reference_of(dataclasses.replace(source, weights_sha256="0" * 64)) is None


def test_a_source_without_a_card_has_no_reference(tmp_path, fresh_home):
    from headstart.sources.catalog import resolve

    assert reference_of(resolve(toy_text_source(tmp_path))) is None


def test_a_foreign_card_may_bring_its_own(tmp_path, monkeypatch):
    for path in (CARDS[0], CARDS[0].with_suffix(".safetensors")):
        shutil.copy(path, tmp_path / f"mine{path.suffix}")
    monkeypatch.setattr(packages, "_foreign_folders", lambda: (tmp_path,))
    assert reference_of(outline(tmp_path / "mine.toml", "pkg:mine")) is not None


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_the_frechet_distance_of_independent_gaussians(seed):
    """Against the general form, with whole covariance matrices and a matrix square root."""
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(seed)
    mean, std = rng.normal(size=5), rng.uniform(0.5, 2, size=5)
    rows = rng.normal(size=(40, 5)) * 1.5 + 1
    a, b = np.diag(std**2), np.diag(rows.var(axis=0))
    squared = np.sum((mean - rows.mean(axis=0)) ** 2) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(mean, std, rows) == pytest.approx(np.sqrt(squared / np.trace(a)))


def test_rows_of_the_reference_are_near_and_moved_ones_are_not():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 8))
    found = [frechet(np.zeros(8), np.ones(8), rows + gap) for gap in (0.0, 1.0, 3.0)]
    assert found[0] < 0.1 and found[1] == pytest.approx(1, abs=0.1) and found[2] > 2.9
