"""Evidence: what a study found, in records that JSON can keep."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from headstart.checks.finding import Finding
from headstart.errors import UsageError
from headstart.evidence.verdict import Verdict, finite, interval_from, interval_json
from headstart.metrics.curve import Curve
from headstart.metrics.interval import Interval
from headstart.task import Kind, Task

#: Changes when evidence of today could not be read by the code of yesterday.
FORMAT = 1

Role = Literal["transfer", "control"]

#: How rows of another domain are called in `Evidence.n_rows`.
BESIDE = "beside"

#: What is said about an arm of the caller's.
YOURS = "yours"


@dataclass(frozen=True)
class Outcome:
    """What came of one arm with one seed on so many rows; nothing of it knows a test label.

    Parameters
    ----------
    arm, seed
        Which arm, and the seed of split and initialization.
    n_rows
        Labelled rows it learned from, without those of validation.
    is_whole
        Whether those are all there were; else it is a point of the data curve.
    scores
        On validation, the primary one first; empty where it diverged.
    curve
        Validation score against rows processed; of an arm that is solved, one point.
    seconds
        The whole fit took, and what came before learning: export and extraction.
    preparation_s
        That part of it.
    is_converged
        Whether it ended by its stop rule; False where it hit the cap.
    error
        Why there is no score; empty where there is one.
    thresholds
        For several labels, the probability from which a label is said; shape (k,).
    outputs
        The SHA-256 of the file of its outputs on the test rows; the file is opened by the verdict.
    facts
        Its plan; "scoring_s", the seconds that scoring took after the fit; and more.
    """

    arm: str
    seed: int
    n_rows: int
    is_whole: bool = True
    scores: dict[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    seconds: float = 0.0
    preparation_s: float = 0.0
    is_converged: bool = True
    error: str = ""
    thresholds: tuple[float, ...] | None = None
    outputs: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """The primary score on validation; not a number where it diverged."""
        return next(iter(self.scores.values()), float("nan"))

    @property
    def cost_s(self) -> float:
        """The seconds that a budget is charged: of the fit, and of scoring it.

        >>> Outcome("probe", 0, 40, seconds=2.0, facts={"scoring_s": 0.5}).cost_s
        2.5
        """
        return self.seconds + float(self.facts.get("scoring_s", 0.0))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return _plain(self) | {"curve": curve_json(self.curve)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Outcome":
        """Read back what `to_json` wrote.

        >>> one = Outcome("probe", 0, 40, scores={"accuracy": 0.5}, thresholds=(0.5,))
        >>> Outcome.from_json(one.to_json()) == one
        True
        """
        thresholds = values["thresholds"]
        made = {
            "curve": curve_from(values["curve"]),
            "thresholds": None if thresholds is None else tuple(thresholds),
        }
        return cls(**(values | made))


@dataclass(frozen=True)
class ArmRecord:
    """One arm of the study, summed up.

    Parameters
    ----------
    name
        "majority", "classical", "random-probe", "scratch", "probe", "finetuned", or yours.
    role
        Whether it transfers or controls.
    about
        What it is, in a few words for people.
    validation, test
        The primary score by seed; a diverged seed has none.
    interval
        Of the test score, for new rows and new seeds; None where it has none.
    test_scores
        Every score on the test rows, mean over seeds, the primary one first.
    seconds
        Of a fit, mean over seeds.
    n_seeds, n_diverged, n_not_converged
        Seeds it was run with, and how they ended.
    """

    name: str
    role: Role
    about: str = ""
    validation: dict[int, float] = field(default_factory=dict)
    test: dict[int, float] = field(default_factory=dict)
    interval: Interval | None = None
    test_scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    n_seeds: int = 0
    n_diverged: int = 0
    n_not_converged: int = 0

    @property
    def is_converged(self) -> bool:
        """Whether every fit of it ended by its stop rule."""
        return self.n_not_converged == 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return _plain(self) | {
            "validation": _by_seed(self.validation),
            "test": _by_seed(self.test),
            "interval": interval_json(self.interval),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ArmRecord":
        """Read back what `to_json` wrote.

        >>> arm = ArmRecord("probe", "transfer", test={0: 0.5}, interval=Interval(0.4, 0.5, 0.6))
        >>> ArmRecord.from_json(arm.to_json()) == arm
        True
        """
        made = {
            "validation": _from_seeds(values["validation"]),
            "test": _from_seeds(values["test"]),
            "interval": interval_from(values["interval"]),
        }
        return cls(**(values | made))


@dataclass(frozen=True)
class Gain:
    """One of the five gains.

    Parameters
    ----------
    name
        "jumpstart", "slope", "asymptote", "time to threshold" or "labels saved".
    interval
        The gain with its interval; None where it could not be measured.
    unit
        Of the interval: the name of the score, "s", "rows", …
    note
        What qualifies it: "at most", what was never reached, why it is missing.

    Examples
    --------
    >>> print(Gain("labels saved", Interval(541.2, 558.0, 570.4), "rows"))
    labels saved: +558 [+541, +570] rows
    >>> print(Gain("labels saved", Interval(-math.inf, 558.0, math.inf), "rows"))
    labels saved: +558 rows, interval unknown
    >>> print(Gain("jumpstart", Interval(0.31, 0.381, 0.452), "accuracy"))
    jumpstart: +0.381 [+0.310, +0.452] accuracy
    """

    name: str
    interval: Interval | None
    unit: str
    note: str = ""

    def __str__(self) -> str:
        shown = "not measured" if self.interval is None else self._amount(self.interval)
        return f"{self.name}: {shown}" + (f" ({self.note})" if self.note else "")

    def _amount(self, interval: Interval) -> str:
        n_digits = {"rows": 0, "s saved": 1}.get(self.unit, 3)
        low, mid, high = (f"{value:+,.{n_digits}f}" for value in interval)
        if not math.isfinite(interval.high - interval.low):
            return f"{mid} {self.unit}, interval unknown"
        return f"{mid} [{low}, {high}] {self.unit}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return _plain(self) | {"interval": interval_json(self.interval)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Gain":
        """Read back what `to_json` wrote."""
        return cls(**(values | {"interval": interval_from(values["interval"])}))


@dataclass(frozen=True)
class Point:
    """One point of a data curve: test scores of an arm that learned from so many rows.

    Parameters
    ----------
    n_rows
        Labelled rows to learn from.
    scores
        The primary test score of each seed.
    interval
        Of their mean, for new rows and new seeds.
    is_converged
        Whether every seed ended by its stop rule.
    seeds
        Which seed each score is of; none in evidence of before they were kept.
    """

    n_rows: int
    scores: tuple[float, ...]
    interval: Interval
    is_converged: bool = True
    seeds: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        shown = {"scores": list(self.scores), "seeds": list(self.seeds)}
        return _plain(self) | shown | {"interval": interval_json(self.interval)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Point":
        """Read back what `to_json` wrote."""
        made = {name: tuple(values.get(name, ())) for name in ("scores", "seeds")}
        return cls(**(values | made | {"interval": interval_from(values["interval"])}))


@dataclass(frozen=True)
class Judged:
    """What the shipped arm said of the test rows, with the first seed.

    Parameters
    ----------
    arm
        That arm.
    names
        How each row is shown to a person; a path where it is a picture on disk.
    truth, said
        The class of each row (an index in `Task.labels`), the number, or the 0/1 labels.
    sure
        The probability of what was said, of its least sure word or label; 1 for numbers.
    """

    arm: str
    names: tuple[str, ...]
    truth: tuple[Any, ...]
    said: tuple[Any, ...]
    sure: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {name: _listed(value) for name, value in _plain(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Judged":
        """Read back what `to_json` wrote."""
        lists = {name: tuple(values[name]) for name in ("names", "truth", "said", "sure")}
        return cls(values["arm"], **lists)


@dataclass(frozen=True)
class Evidence:
    """What a study found.

    Parameters
    ----------
    task
        What is predicted.
    score
        The name of the primary score: "accuracy", "macro_f1", "entity_f1" or "r2".
    source
        Facts of the source's card: uri, title, trained_on, license, n_parameters, modality.
    n_rows
        Rows to learn from, of those to validate on, and to test on; "beside": of another domain,
        where the transfer arm learned from such too.
    arms
        Every arm, controls first.
    outcomes
        Every fit.
    effort
        Effort curves by arm, one a seed: validation score against rows processed.
    data
        Data curves by arm: test score against labelled rows, rising.
    gains
        The five gains.
    verdict
        The decision, and what ships.
    judged
        What the shipped arm said of the test rows; None where names cannot be kept.
    findings
        What was found of the data.
    remedies
        What else was tried where transfer did not win, and what each gave on validation.
    n_test_reads
        How often the labels of these test rows were read over their life.
    seeds, budget_s
        What was asked.
    plan
        What the budget became: seeds and fractions by arm, epochs, the pilot's rates.
    transfer_plan
        `Plan.to_json()` of the shipped transfer arm's fit: the five steps.
    versions
        Of what may change a result.
    notes
        What a person should know, a sentence each.
    seconds
        The fits took together, those of earlier calls as well.
    created
        When.
    """

    task: Task
    score: str
    source: dict[str, Any]
    n_rows: dict[str, int]
    arms: tuple[ArmRecord, ...]
    outcomes: tuple[Outcome, ...]
    effort: dict[str, tuple[Curve, ...]]
    data: dict[str, tuple[Point, ...]]
    gains: tuple[Gain, ...]
    verdict: Verdict
    judged: Judged | None = None
    findings: tuple[Finding, ...] = ()
    remedies: tuple[dict[str, Any], ...] = ()
    n_test_reads: int = 1
    seeds: int = 1
    budget_s: float | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    transfer_plan: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    created: str = ""

    def __str__(self) -> str:
        return str(self.verdict)

    def __repr__(self) -> str:
        return f"Evidence({self.verdict})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the report, in a frame that may do nothing."""
        from headstart.evidence.report import notebook

        return notebook(self)

    def arm(self, name: str) -> ArmRecord:
        """Return the arm of that name.

        Raises
        ------
        UsageError
            Where there is none.
        """
        found = {arm.name: arm for arm in self.arms}
        if name not in found:
            raise UsageError(f"{name!r} is no arm.\nExpected one of {', '.join(found)}.")
        return found[name]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return _plain(self) | {
            "format": FORMAT,
            "task": dataclasses.asdict(self.task) | {"labels": list(self.task.labels)},
            "arms": [arm.to_json() for arm in self.arms],
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "effort": {arm: [curve_json(c) for c in curves] for arm, curves in self.effort.items()},
            "data": {arm: [p.to_json() for p in points] for arm, points in self.data.items()},
            "gains": [gain.to_json() for gain in self.gains],
            "verdict": self.verdict.to_json(),
            "judged": None if self.judged is None else self.judged.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "remedies": list(self.remedies),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Evidence":
        """Read back what `to_json` wrote."""
        fields = {name: value for name, value in values.items() if name != "format"}
        task = values["task"]
        judged = values["judged"]
        return cls(
            **fields
            | {
                "task": Task(Kind(task["kind"]), tuple(task["labels"]), task["target"]),
                "arms": tuple(ArmRecord.from_json(arm) for arm in values["arms"]),
                "outcomes": tuple(Outcome.from_json(one) for one in values["outcomes"]),
                "effort": {a: tuple(map(curve_from, c)) for a, c in values["effort"].items()},
                "data": {a: tuple(map(Point.from_json, p)) for a, p in values["data"].items()},
                "gains": tuple(Gain.from_json(gain) for gain in values["gains"]),
                "verdict": Verdict.from_json(values["verdict"]),
                "judged": None if judged is None else Judged.from_json(judged),
                "findings": tuple(Finding.from_json(one) for one in values["findings"]),
                "remedies": tuple(values["remedies"]),
                "notes": tuple(values["notes"]),
            }
        )


def curve_json(curve: Curve) -> dict[str, list[float | None]]:
    """Return a curve as JSON values; None for a point that is not a number."""
    return {name: [finite(v) for v in values] for name, values in _plain(curve).items()}


def curve_from(values: Mapping[str, list[float | None]]) -> Curve:
    """Read back what `curve_json` wrote.

    >>> curve_from(curve_json(Curve(seen=(10, 20), score=(0.5, 0.75)))).score
    (0.5, 0.75)
    """
    numbers = {
        name: tuple(float("nan") if value is None else value for value in found)
        for name, found in values.items()
    }
    return Curve(**numbers | {"seen": tuple(int(n) for n in numbers["seen"])})  # type: ignore[arg-type]


def _plain(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _by_seed(scores: dict[int, float]) -> dict[str, float]:
    return {str(seed): score for seed, score in scores.items()}


def _from_seeds(scores: dict[str, float]) -> dict[int, float]:
    return {int(seed): score for seed, score in scores.items()}
