"""Arms: what is compared. An arm is a name and an unfitted estimator; the study fits it itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from headstart.data.dataset import Dataset
from headstart.data.pictures import decode
from headstart.data.ragged import flat, is_ragged, ragged
from headstart.data.tags import repaired
from headstart.errors import HeadstartError, UsageError
from headstart.evidence.evidence import YOURS, Role
from headstart.evidence.tagger import Tagger
from headstart.features.extract import extract_beside
from headstart.machine import one_thread
from headstart.sources.catalog import smallest_trainable
from headstart.sources.source import Source
from headstart.steps.names import names_of, told
from headstart.steps.phase import Phase
from headstart.steps.take import take
from headstart.steps.train import targets_of
from headstart.task import Kind, Modality, Task
from headstart.transfer.plan import FEW, automatic

MAJORITY, CLASSICAL, RANDOM, SCRATCH = "majority", "classical", "random-probe", "scratch"
PROBE, FINETUNED = "probe", "finetuned"

#: Pixels a side of the pictures that the classical arm reads.
PIXELS = 32

#: Rows of which the classical arm asks whether the names of the classes tell them.
MOST_ASKED = 2000

#: Penalties that the classical arm chooses from, by log-loss or squared error.
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to learn the task.

    Parameters
    ----------
    name
        How it is called.
    estimator
        Unfitted. One with a parameter `source` is given a `Dataset` with its validation rows;
        any other the raw training rows and their targets, as scikit-learn does.
    role
        "transfer", or "control".
    about
        What it is, in a few words for people.
    weights
        What names the weights it starts from and their input, where the source is its own: a URI
        stays the same when what it names is trained again. Empty: the study's source.
    """

    name: str
    estimator: Any
    role: Role
    about: str = ""
    weights: tuple[str, ...] = ()

    def with_phase(self, phase: Phase | None) -> "Arm":
        """Return the same arm, learning so fast and so long."""
        return replace(self, estimator=clone(self.estimator).set_params(phase=phase))


def roster(
    model: Any,
    data: Dataset,
    more: Mapping[str, Any] | None = None,
    source: Source | None = None,
    given: Dataset | None = None,
) -> list[Arm]:
    """Return the arms of a study: controls first, each kind from the simplest to the most costly.

    Parameters
    ----------
    model
        The estimator that is to be proved, fitted or not; a parameter `source` says from what.
    data
        The rows it is about.
    more
        Arms of yours: name → unfitted estimator, or an `Arm`. One that has a source which is not
        `scratch:` transfers, any other is a control.
    source
        What the study transfers from, where it was chosen already.
    given
        The rows as a fit would get them, where `data` are put together anew: what step 5 does
        where that is left open depends on how many there are, and on the split. None: `data`.
    """
    source = source or source_of(model, data)
    arms = [
        *_controls(model, source, data),
        *_transfers(model, source, data if given is None else given),
    ]
    yours = [_yours(name, given, data) for name, given in (more or {}).items()]
    names = [arm.name for arm in arms]
    twice = sorted({arm.name for arm in yours if arm.name in names})
    if twice:
        raise UsageError(f"The arms {', '.join(twice)} are there already.\nGive yours other names.")
    both = [*arms, *yours]
    return sorted(both, key=lambda arm: arm.role == "transfer")  # stable: order within stays


def source_of(model: Any, data: Dataset) -> Source:
    """Return the card of what the model starts from; of "auto", the first guess of the shelf."""
    if "source" not in model.get_params(deep=False):
        raise UsageError(
            f"{type(model).__name__} has no source, so it transfers nothing.\n"
            "Expected a Transfer; give other estimators as arms: prove(model, data, arms={…})."
        )
    found = getattr(model, "source_", None)
    # Arms open what the URI names now, which may have been trained again since the model's fit.
    source = take(model.source if found is None else found.uri, data, seed=0)
    if source.is_scratch:
        raise UsageError(f"{source.uri} transfers nothing: name the source without 'scratch:'.")
    return source


def _controls(model: Any, source: Source, data: Dataset) -> list[Arm]:
    assert data.task is not None
    arms = [
        Arm(MAJORITY, Majority(data.task.kind), "control", "the same answer for every row"),
        Arm(CLASSICAL, _classical(data), "control", _ABOUT[data.modality]),
    ]
    if data.modality is Modality.VECTOR:
        return arms
    control = like(model, f"scratch:{source.uri}", "all")
    frozen = like(model, f"scratch:{source.uri}", "head")
    other = stand_in(source)
    return [
        *arms,
        Arm(RANDOM, frozen, "control", f"a head on frozen random features{other}"),
        Arm(SCRATCH, control, "control", f"all of it trained from random weights{other}"),
    ]


def stand_in(source: Source) -> str:
    """Say whose random weights are taken where the source can only be used frozen; or nothing."""
    if source.is_trainable or source.modality is Modality.VECTOR:
        return ""
    return f" of {smallest_trainable(source.modality).uri}, the smallest trainable network"


def _classical(data: Dataset) -> Any:
    assert data.task is not None
    if data.task.kind is Kind.TAGS:
        return Tagger(data.task.n_outputs)
    return Classical(data.modality, data.task.kind)


_ABOUT = {
    Modality.WORDS: "words, their letters and neighbors, and logistic regression",
    Modality.TEXT: "TF-IDF and logistic regression",
    Modality.IMAGE: f"{PIXELS} × {PIXELS} pixels and logistic regression",
    Modality.VECTOR: "logistic regression",
}


def _transfers(model: Any, source: Source, data: Dataset) -> list[Arm]:
    about = "frozen trunk, new head"
    if source.modality is Modality.VECTOR:
        about = "a head on the numbers themselves: nothing is transferred"
    probe = Arm(PROBE, like(model, source.uri, "no"), "transfer", about)
    options = model.get_params(deep=False)
    left_open = automatic(source, data, options.get("head", "linear"), options.get("phase"))
    boundary = finetunes(model, source, left_open)
    if not boundary:
        return [probe]
    tuned = like(model, source.uri, f"only:{boundary}", options.get("phase"))
    moves = "all blocks move too" if boundary == FEW else f"upper stages ({boundary}) move too"
    return [probe, Arm(FINETUNED, tuned, "transfer", moves)]


def finetunes(model: Any, source: Source, automatic: str) -> str:
    """Return what a model lets move of a source, `automatic` where it leaves that open; or ""."""
    asked = str(model.get_params(deep=False).get("finetune", "auto")).removeprefix("only:")
    if not source.is_trainable or source.modality is Modality.VECTOR or asked in ("no", "head"):
        return ""
    return automatic if asked == "auto" else asked


def like(model: Any, source: str, finetune: str, phase: Phase | None = None) -> Any:
    """Return the model unfitted, with another source and another step 5, writing nowhere."""
    known = model.get_params(deep=False)
    # Arms of the data's own rows are given no others, and those of both are to learn from both.
    also = known.get("also") if known.get("also") not in ("only", "no") else "weighed"
    wanted = {
        "source": source, "finetune": finetune, "phase": phase, "run": None, "also": also,
    }  # fmt: skip
    return clone(model).set_params(**{k: v for k, v in wanted.items() if k in known})


def _yours(name: str, given: Any, data: Dataset) -> Arm:
    if isinstance(given, Arm):
        return replace(given, name=name, weights=given.weights or _weights(given.estimator, data))
    if not (hasattr(given, "fit") and hasattr(given, "get_params")):
        raise UsageError(
            f"The arm {name!r} is {type(given).__name__}; expected an unfitted estimator as "
            "scikit-learn has them: `fit`, `predict` and `get_params`."
        )
    source = str(given.get_params(deep=False).get("source", "scratch:"))
    role: Role = "control" if source.startswith("scratch:") else "transfer"
    return Arm(name, given, role, YOURS, _weights(given, data))


def _weights(estimator: Any, data: Dataset) -> tuple[str, ...]:
    """Return what names the weights an estimator starts from; none where no source of ours."""
    source = estimator.get_params(deep=False).get("source")
    if not isinstance(source, str):
        return ()
    try:
        return identity(take(source, data, seed=0))
    except HeadstartError:  # a source of its own kind; of ours, the fit will say what is wrong
        return ()


def identity(source: Source) -> tuple[str, ...]:
    """Return what names a source's weights, how it reads its rows, and what it makes of both."""
    architecture = json.dumps(source.architecture, sort_keys=True)
    return source.weights_sha256, repr(source.preprocess), architecture


def fitted(arm: Arm, data: Dataset, seed: int) -> Any:
    """Return the arm's estimator, fitted.

    Parameters
    ----------
    data
        Training and validation rows, as their split says; no test rows.
    seed
        Of the initialization.
    """
    estimator = clone(arm.estimator)
    known = estimator.get_params(deep=False)
    estimator.set_params(**{name: seed for name in ("seed", "random_state") if name in known})
    if "source" in known:
        return estimator.fit(data)
    rows = data.training()
    if isinstance(estimator, Classical):
        return estimator.fit(_raw(rows), targets_of(rows), names=names_of(data))
    return estimator.fit(_raw(rows), rows.targets)


def outputs(model: Any, data: Dataset, task: Task) -> NDArray[np.float32]:
    """Return what a fitted estimator says of rows: probabilities or numbers; shape (n, k).

    Features of a frozen trunk come from the cache.
    """
    bundle = getattr(model, "bundle_", None)
    if bundle is not None and bundle.source == model.source_:
        found = extract_beside(bundle.source, data, bundle.head.reads)
        return _float32(bundle.head.outputs(found.array()))
    rows = data if "source" in model.get_params(deep=False) else _raw(data)
    if task.kind is Kind.REGRESSION:
        return np.asarray(model.predict(rows), dtype=np.float32).reshape(-1, 1)
    if not hasattr(model, "predict_proba"):
        return _as_outputs(np.asarray(model.predict(rows)), task)
    said = model.predict_proba(rows)
    if isinstance(said, list):  # scikit-learn's way for several labels: (n, 2) a label
        said = np.stack([each[:, -1] for each in said], axis=1)
    return _spread(_float32(said), model, task)


def _float32(said: Any) -> NDArray[Any]:
    """Return outputs in float32; ragged ones row by row."""
    if is_ragged(said):
        return ragged([np.asarray(row, dtype=np.float32) for row in said])
    return np.asarray(said, dtype=np.float32)


def _raw(data: Dataset) -> Any:
    return data.rows if isinstance(data.rows, np.ndarray) else list(data.rows)


def _as_outputs(said: NDArray[Any], task: Task) -> NDArray[np.float32]:
    if task.kind is Kind.MULTILABEL:
        return said.astype(np.float32)
    return np.eye(task.n_outputs, dtype=np.float32)[said.astype(np.int64)]


def _spread(said: NDArray[np.float32], model: Any, task: Task) -> NDArray[np.float32]:
    """Put each column where its class belongs; a class that was not learned has none."""
    if is_ragged(said) or said.shape[1] == task.n_outputs:
        return said
    full = np.zeros((len(said), task.n_outputs), dtype=np.float32)
    full[:, np.asarray(model.classes_, dtype=np.int64)] = said
    return full


class Majority(BaseEstimator):
    """Says the same of every row: the shares of the classes, or the mean of the numbers.

    >>> Majority(Kind.MULTICLASS).fit(["a", "b", "c"], np.array([0, 1, 1])).predict_proba(["d"])
    array([[0.33333333, 0.66666667]])
    """

    def __init__(self, kind: Kind = Kind.MULTICLASS) -> None:
        self.kind = kind

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Count."""
        targets = np.asarray(y)
        if self.kind is Kind.TAGS:
            targets = flat([repaired(codes) for codes in targets])
            self.said_ = np.bincount(targets) / len(targets)
            return self
        self.classes_ = np.unique(targets)
        whole = targets if self.kind is not Kind.MULTICLASS else targets[:, None] == self.classes_
        self.said_ = np.atleast_1d(whole.mean(axis=0))
        return self

    def predict_proba(self, X: Sequence[Any]) -> NDArray[np.float64]:
        """Return the shares, once a row; shape (n, k). Of sentences once a word."""
        if self.kind is Kind.TAGS:
            return ragged([np.tile(self.said_, (len(row), 1)) for row in X])
        return np.tile(self.said_, (len(X), 1))

    def predict(self, X: Sequence[Any]) -> NDArray[np.float64]:
        """Return the mean, once a row; shape (n,)."""
        return np.full(len(X), self.said_[0])


class Classical(BaseEstimator):
    """What was done before networks: TF-IDF or small pictures, and logistic (or ridge) regression.

    Parameters
    ----------
    modality, kind
        What a row is, and what is asked of it.

    Notes
    -----
    The penalty is chosen by cross-validation on log-loss or squared error, where every class has
    two rows. Several labels at once are as many independent regressions with one penalty.
    """

    def __init__(self, modality: Modality = Modality.TEXT, kind: Kind = Kind.MULTICLASS) -> None:
        self.modality = modality
        self.kind = kind

    def fit(self, X: Any, y: ArrayLike, names: Sequence[str] = ()) -> Self:
        """Learn from raw rows and their encoded targets.

        Parameters
        ----------
        names
            Of the classes, in the order of their numbers: texts that teach too if they tell the
            rows by their words, as `headstart.steps.names` has it of features. Empty: none do.
        """
        targets = np.asarray(y)
        if names and self._are_telling(X, targets, names):
            X, targets = [*X, *names], np.append(targets, np.arange(len(names)))
        self.model_ = _searched(self._pipeline(), targets, self.kind)
        with _quiet(), one_thread():
            self.model_.fit(self._read(X), targets)
        self.classes_ = getattr(self.model_, "classes_", None)
        return self

    def _are_telling(self, X: Any, targets: NDArray[Any], names: Sequence[str]) -> bool:
        words, texts = self._pipeline()[0].fit(self._read(X)), self._read(X)
        some = slice(None, None, -(-len(texts) // MOST_ASKED))  # dense, a column a word
        rows, said = (words.transform(each).toarray() for each in (texts[some], list(names)))
        return told(rows, targets[some], said, np.arange(len(names))).is_clear

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return probabilities; shape (n, classes that were learned)."""
        return np.asarray(self.model_.predict_proba(self._read(X)))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return numbers, or encoded classes; shape (n,)."""
        return np.asarray(self.model_.predict(self._read(X)))

    def _read(self, rows: Any) -> Any:
        if self.modality is Modality.IMAGE:
            return np.stack([_pixels(row) for row in rows])
        return rows if isinstance(rows, np.ndarray) else list(rows)

    def _pipeline(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        is_text = self.modality is Modality.TEXT
        # A text of unknown characters only still needs a column, hence the characters.
        first = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|\S") if is_text else (
            StandardScaler()
        )  # fmt: skip
        if self.kind is Kind.REGRESSION:
            return make_pipeline(first, Ridge())
        regression = LogisticRegression(max_iter=300)
        several = self.kind is Kind.MULTILABEL
        return make_pipeline(first, OneVsRestClassifier(regression) if several else regression)


def _searched(pipeline: Any, targets: NDArray[Any], kind: Kind) -> Any:
    """Return the pipeline with its penalty chosen by folds, where there are rows for that."""
    from sklearn.model_selection import GridSearchCV, KFold

    is_classes = kind is Kind.MULTICLASS
    smallest = np.unique(targets, return_counts=True)[1].min() if is_classes else len(targets)
    if smallest < 2:
        return pipeline
    n = min(3, int(smallest))
    name, score = SEARCHED[kind]
    grid = {f"{pipeline.steps[-1][0]}__{name}": PENALTIES}
    folds = n if is_classes else KFold(n, shuffle=True, random_state=0)  # rows may be sorted
    return GridSearchCV(pipeline, grid, scoring=score, cv=folds)


def _log_loss(model: Any, rows: Any, targets: NDArray[Any]) -> float:
    """Return minus the mean log-loss of several labels, as scikit-learn wants scores."""
    tiny = np.finfo(np.float64).tiny
    said = model.predict_proba(rows)
    given = np.where(targets > 0, said, 1 - said)
    return float(np.log(np.maximum(given, tiny)).mean())


#: A kind of task → the name of the penalty in its regression, and what it is chosen by.
SEARCHED: dict[Kind, tuple[str, Any]] = {
    Kind.MULTICLASS: ("C", "neg_log_loss"),
    Kind.MULTILABEL: ("estimator__C", _log_loss),
    Kind.REGRESSION: ("alpha", "neg_mean_squared_error"),
}


def _pixels(row: Any) -> NDArray[np.float32]:
    picture = decode(row, at_least=(PIXELS, PIXELS)).resize((PIXELS, PIXELS))
    return (np.asarray(picture, dtype=np.float32) / 255).ravel().astype(np.float32)


def _quiet() -> Any:
    """Let a regression that runs out of steps pass: the search takes another penalty."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
