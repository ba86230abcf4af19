"""Transfer and TransferRegressor are scikit-learn estimators, with no expected failure."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import headstart as hs
from headstart.errors import DataError, UsageError
from headstart.steps.phase import Phase
from headstart.transfer.fitting import Fitting
from headstart.transfer.transfer import Transfer, TransferRegressor


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([Transfer(), TransferRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def blobs(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 5)) + 2 * np.eye(5)[y], np.array(["ant", "bee", "cow"])[y]


def test_it_works_inside_pipelines_and_cross_validation():
    X, y = blobs()
    assert cross_val_score(make_pipeline(StandardScaler(), Transfer()), X, y, cv=3).mean() > 0.75


def test_labels_keep_their_type():
    X, y = blobs()
    numbers = np.searchsorted(["ant", "bee", "cow"], y) * 10
    assert Transfer().fit(X, numbers).predict(X).dtype == numbers.dtype


def test_one_row_in_a_class_leaves_the_others_to_judge():
    X, y = blobs(31)
    y[:] = np.where(np.arange(31) == 0, "rare", y)
    model = Transfer().fit(X, y)
    assert not any("single row" in note for note in model.plan_.notes)
    assert model.scores_["out_of_fold"]["accuracy"] > 0.6


def test_one_row_a_class_means_the_default_penalty_and_a_warning():
    X, y = blobs(30)
    model = Transfer().fit(X[:3], y[:3])
    assert any("single row" in note for note in model.plan_.notes)
    assert "out_of_fold" not in model.scores_


def test_an_mlp_head_learns_what_a_line_cannot():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    linear, mlp = Transfer().fit(X, y), Transfer(head="mlp").fit(X, y)
    assert linear.score(X, y) < 0.7
    assert mlp.score(X, y) > 0.9


def test_one_class_is_an_error_that_says_what_is_missing():
    with pytest.raises(DataError, match="two classes"):
        Transfer().fit(np.ones((4, 2)), ["a"] * 4)


def test_saved_and_loaded_says_the_same(tmp_path):
    import headstart as hs

    X, y = blobs()
    model = Transfer().fit(X, y)
    loaded = hs.load(model.save(tmp_path / "model"))
    assert np.abs(loaded.predict_proba(X) - model.predict_proba(X)).max() <= 1e-6
    assert (loaded.predict(X) == model.predict(X)).all()


def test_a_fit_that_fails_leaves_the_one_before_as_it_was(monkeypatch):
    X, y = blobs()
    model = Transfer().fit(X, y)
    said, before = model.predict(X).tolist(), dict(vars(model))

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as during, pytest.raises(KeyboardInterrupt):
        during.setattr(Fitting, "go", interrupted)
        model.fit(X[:, :2], np.where(y == "ant", "dog", "cat"))
    with pytest.raises(DataError, match="are of one class"):
        model.fit(X, ["ant"] * len(X))
    assert vars(model) == before
    assert model.predict(X).tolist() == said
    unfitted = Transfer()
    with pytest.raises(DataError):
        unfitted.fit(X, ["ant"] * len(X))
    assert vars(unfitted) == vars(Transfer())


def test_a_fit_keeps_the_options_as_they_were_given():
    phase = Phase(epochs=3)
    model = Transfer(phase=phase).fit(*blobs())
    assert model.phase is phase


def test_a_phase_of_which_nothing_comes_is_told_of():
    with pytest.raises(UsageError, match=r"Phase\(epochs=-5\) cannot be right"):
        Transfer(finetune="no", phase=Phase(epochs=-5)).fit(*blobs())
    notes = Transfer(finetune="no", phase=Phase()).fit(*blobs()).plan_.notes
    assert notes[0] == "How step 5 learns was given, and nothing came of it (no: not asked for)."
    assert not any("step 5" in note for note in Transfer(finetune="no").fit(*blobs()).plan_.notes)


def test_a_path_may_begin_with_the_home_it_lies_in(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    X, y = blobs()
    model = Transfer().fit(X, y)
    assert model.save("~/model") == tmp_path / "model"
    assert hs.load("~/model").predict(X).tolist() == model.predict(X).tolist()
