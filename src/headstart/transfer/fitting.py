"""One fit in progress: steps 2 to 5 on one set of rows, and the arm validation prefers."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.bundle.bundle import Bundle
from headstart.checks.preprocessing import unlike_source
from headstart.checks.shift import Reference
from headstart.data.also import is_also
from headstart.data.dataset import TEST, VALIDATION, Dataset, Skipped, limit_skipped
from headstart.data.pictures import row_hash
from headstart.data.ragged import are_finite
from headstart.data.reads import count_read
from headstart.errors import Diverged, HeadstartError, ResourceError, first_line
from headstart.features.extract import extract_beside
from headstart.features.features import Features
from headstart.features.reading import Reading
from headstart.heads.calibrate import calibrated
from headstart.heads.head import Head
from headstart.machine import is_out_of_memory
from headstart.metrics.curve import Curve
from headstart.metrics.scores import scores
from headstart.runs import Run
from headstart.steps.names import ask, teaching, with_names
from headstart.steps.phase import Phase
from headstart.steps.train import Trained, labelled, read_by, reads_of, targets_of, top_head, train
from headstart.steps.weigh import weigh, weighted
from headstart.store.store import open_store
from headstart.task import Kind, Modality
from headstart.transfer.choose import Candidate, Choice, prefer, unless_worse
from headstart.transfer.plan import Plan

if TYPE_CHECKING:
    from headstart.steps.finetune import Finetuned

#: What is said of an arm whose stop, calibration and choice all used the validation rows.
REUSED = (
    "The validation rows also said when to stop, calibrated the head and chose this arm: its "
    "validation scores are optimistic. A test split says more."
)

#: What is said of rows beside where a network is trained from random weights.
UNWEIGHED = "Trained from random weights, rows beside count as much as those of the data."


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit hands back."""

    plan: Plan
    scores: dict[str, dict[str, float]]
    bundle: Bundle
    curve: Curve | None


class Fitting:
    """Steps 2 to 5 on one set of rows.

    Parameters
    ----------
    plan
        What to do.
    data
        Labelled rows, split.
    seed
        Of folds, views and random weights.
    max_skipped
        The share of rows that may be unreadable.
    run
        Where step 5 keeps its checkpoints.
    weighs
        Whether rows of another domain count what helps; all count the same if not.

    Notes
    -----
    Where the names of classes teach, they are the last rows of `data` and of `features`.
    """

    def __init__(
        self,
        plan: Plan,
        data: Dataset,
        seed: int,
        max_skipped: float,
        run: Run | None,
        *,
        weighs: bool = True,
    ) -> None:
        self.plan, self.data, self.seed = plan, data, seed
        self.max_skipped, self.run = max_skipped, run
        self.weighs = weighs and bool(is_also(data).any())
        self.taken_s: dict[str, float] = {}
        self.features: Features | None = None
        self.trained: Trained | None = None
        self.trained_on = np.zeros(0, dtype=np.int64)
        self.n_given = len(data)  # without the names of classes
        self.skipped: tuple[Skipped, ...] = data.skipped
        self.curve: Curve | None = None

    def go(self) -> Fitted:
        """Do what the plan says."""
        if self.plan.is_scratch:
            with self._timed("scratch"):
                choice = self.learn_from_scratch()
        else:
            with self._timed("extract"):
                self.freeze_and_extract()
            with self._timed("train"):
                probe = self.attach_and_train()
            with self._timed("finetune"):
                choice = self.finetune_if_it_pays(probe)
        return self._fitted(choice)

    def freeze_and_extract(self) -> None:
        """Step 2: run the frozen trunk over every row once, and over the names of few classes."""
        named, n = with_names(self.data), len(self.data)
        features = extract_beside(self.plan.source, named, reads_of(labelled(self.data)))
        is_own, lost = features.kept < n, np.delete(np.arange(len(named)), features.kept)
        skipped = [row for i, row in zip(lost, features.skipped, strict=True) if i < n]
        self._leave_out(features.kept[is_own], skipped)
        self.n_given = len(self.data)
        self.features = features.take(is_own)
        if self.data.modality is Modality.TEXT:
            found = map(str, unlike_source(self.data, self.plan.source.preprocess, self.seed))
            self.plan = replace(self.plan, notes=(*self.plan.notes, *found))
        if len(features) > self.n_given:
            self._let_names_teach(features, named.take(features.kept))

    def _let_names_teach(self, features: Features, named: Dataset) -> None:
        """Learn from the names of the classes too, if the rows say that they mean something."""
        told = ask(features, named)
        self.plan = replace(self.plan, notes=(*self.plan.notes, str(told)))
        if told.is_clear:
            at = teaching(named)
            self.data, self.features = named.take(at), features.take(at)

    def _leave_out(self, kept: NDArray[np.int64], skipped: Sequence[Skipped]) -> None:
        """Go on with the rows that could be read; the reader has judged what it left out itself."""
        limit_skipped(skipped, len(self.data), self.max_skipped)
        self.skipped = (*self.data.skipped, *skipped)
        self.data = self.data.take(kept)

    def attach_and_train(self) -> Candidate:
        """Put a new head on, and train it to convergence: steps 3 and 4."""
        if self.weighs:
            self._weigh_others()
        self.trained = self._train(self._part(VALIDATION, TEST, inverse=True))
        held_out = self._part(VALIDATION)
        outputs = self._said(self.trained.head, held_out) if len(held_out) else None
        self.curve = self.trained.curve
        return Candidate("probe", self.plan.source, self.trained.head, outputs)

    def _weigh_others(self) -> None:
        """Let the rows of another domain count as much as helps those the model is for."""
        assert self.features is not None
        found = weigh(self.features, self.data, self.seed)
        self.plan = replace(self.plan, notes=(*self.plan.notes, str(found)))
        weighed = weighted(self.data, found)
        if len(weighed) < len(self.data):
            self.features = self.features.take(~is_also(self.data))
        self.data = weighed

    def finetune_if_it_pays(self, probe: Candidate) -> Choice:
        """Step 5: let the upper stages move; keep that only if held-out rows allow it.

        Where nobody asked for it and it breaks, the probe, which is whole, is kept.
        """
        if self.plan.phase is None:
            return prefer(probe, None, labelled(self.data), None)
        before = self.trained, self.curve
        try:
            if self.plan.is_few:
                return self._finetune_few(probe, self.plan.phase)
            return self._finetune(probe)
        except (Diverged, ResourceError, MemoryError, RuntimeError) as error:
            is_bad_luck = isinstance(error, HeadstartError) or is_out_of_memory(error)
            if not (self.plan.is_open and is_bad_luck):
                raise
            why = f"probe: step 5 came to nothing: {first_line(error)}"
        self.trained, self.curve = before
        return self._without_step_5(probe, why)

    def _finetune(self, probe: Candidate) -> Choice:
        """Let the upper stages move, and choose on the rows that were held out."""
        task = labelled(self.data)
        tuned, made = self._finetuned(probe)
        # All of them say what the score is: few validation rows may have other shares of classes.
        own = self._part(TEST, inverse=True)
        among = targets_of(self.data)[own[~is_also(self.data)[own]]]
        targets, asked = self.data.only(VALIDATION).targets, self.plan.keeps_finetuned
        n_taught = self._n_own() if self.plan.holds_out else None
        choice = prefer(probe, tuned, task, targets, among, n_taught=n_taught, is_asked=asked)
        if choice.kept is tuned:
            return replace(choice, kept=replace(tuned, source=made.keep()))
        return self._without_step_5(probe, choice.why)

    def _n_own(self) -> int:
        """Return how many rows taught the probe that count, and are none of those beside."""
        rows = self.data.take(self.trained_on)
        return int((~is_also(rows) & rows.counted()).sum())

    def _without_step_5(self, probe: Candidate, why: str) -> Choice:
        """Keep the probe; nothing is left to choose, so rows held out for that teach it too.

        What the head before it said of them is no score of it; its own are those out of fold.
        """
        if not self.plan.holds_out:
            return Choice(probe, why)
        self.trained = self._train(self._part(TEST, inverse=True))
        self.curve = self.trained.curve or self.curve
        return Choice(replace(probe, head=self.trained.head, validation=None), why)

    def _finetune_few(self, probe: Candidate, phase: Phase) -> Choice:
        """Move the network by all rows, and judge that on each as one that had not seen it."""
        from headstart.steps.few import HALVES, finetune_few

        assert self.features is not None
        assert self.trained is not None
        rows = self.data.take(self.trained_on)
        tuned = finetune_few(
            self.plan.source, self.plan.boundary, self.features.take(self.trained_on), rows,
            penalty=self.trained.facts["penalty"], phase=phase, seed=self.seed,
        )  # fmt: skip
        source = self.plan.source
        seen = are_finite(tuned.outputs)
        frozen = Candidate("probe", source, probe.head, tuned.frozen[seen])
        moved = Candidate("finetuned", source, tuned.made.head, tuned.outputs[seen])
        asked, targets = self.plan.keeps_finetuned, targets_of(rows)[seen]
        choice = unless_worse(frozen, moved, labelled(rows), targets, is_asked=asked)
        if choice.kept is frozen:
            return replace(choice, kept=probe)
        self.trained = replace(self.trained, outputs=tuned.outputs, notes=(HALVES,))
        judged = self.data.only(VALIDATION)  # named by the data: these rows had no part in it
        kept = replace(moved, source=tuned.made.keep(), validation=None)
        if len(judged):
            kept = replace(kept, validation=self._bundle(kept).outputs(judged))
        return replace(choice, kept=kept)

    def _finetuned(self, probe: Candidate) -> "tuple[Candidate, Finetuned]":
        from headstart.steps.finetune import finetune

        assert self.features is not None
        rows = self.data.take(self.trained_on)
        start = top_head(probe.head, self.features.take(self.trained_on), rows, self.seed)
        made = finetune(
            self.plan.source, self.plan.boundary, start, self.data,
            phase=self.plan.phase, seed=self.seed, run=self.run,
        )  # fmt: skip
        return self._candidate("finetuned", made), made

    def learn_from_scratch(self) -> Choice:
        """Train the whole network from random weights; another recipe, no transfer."""
        from headstart.steps.finetune import from_scratch

        with Reading(self.plan.source, self.data) as reading:
            kept = np.flatnonzero(reading.readable())
            self._leave_out(kept, list(reading.skipped.values()))
        if self.weighs:
            self.plan = replace(self.plan, notes=(*self.plan.notes, UNWEIGHED))
        made = from_scratch(
            self.plan.source, self.data, phase=self.plan.phase, seed=self.seed, run=self.run
        )
        candidate = replace(self._candidate("scratch", made), source=made.keep())
        return Choice(candidate, "scratch: no transfer was asked")

    def _candidate(self, name: str, made: "Finetuned") -> Candidate:
        """Calibrate a head that was trained by gradient on the rows held out from it."""
        held_out = self.data.only(VALIDATION)
        targets = np.asarray(held_out.targets)
        head = calibrated(made.head, made.validation, targets, held_out.weight)
        self.curve = made.curve
        outputs = head.outputs_from(made.validation)
        return Candidate(name, self.plan.source, head, outputs)

    def _train(self, at: NDArray[np.int64]) -> Trained:
        assert self.features is not None
        self.trained_on = at
        rows = self.data.take(at)
        return train(self.plan.head, self.features.take(at), rows, seed=self.seed, run=self.run)

    def _said(self, head: Head, at: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what a head on the frozen trunk says of some rows."""
        assert self.features is not None
        return head.outputs(read_by(head, self.features.take(at)).array())

    def _part(self, *names: str, inverse: bool = False) -> NDArray[np.int64]:
        """Return the indices of the rows in (or outside) the named splits."""
        if self.data.split is None:
            return np.arange(len(self.data)) if inverse else np.zeros(0, dtype=np.int64)
        return np.flatnonzero(np.isin(self.data.split, names, invert=inverse))

    def _fitted(self, choice: Choice) -> Fitted:
        plan = replace(self.plan, outcome=choice.why, taken_s=self.taken_s)
        notes = self.trained.notes if self._has_folds(choice.kept) and self.trained else (REUSED,)
        plan = replace(plan, notes=(*plan.notes, *notes))
        found = self._scores(choice.kept)
        facts = {
            "scores": found,
            "seed": self.seed,
            "arm": choice.kept.name,
            "plan": plan.to_json(),
            "penalty": self._penalty(choice.kept),
            "n_computed": 0 if self.features is None else self.features.n_computed,
            "skipped": [{"row": one.row, "reason": one.reason} for one in self.skipped],
            "columns": list(self.data.columns),
        }
        kept, task = choice.kept, labelled(self.data)
        bundle = Bundle(kept.source, task, kept.head, facts)
        bundle = replace(bundle, reference=self._reference(bundle, choice.kept))
        return Fitted(plan, found, bundle, self.curve)

    def _reference(self, bundle: Bundle, kept: Candidate) -> Reference | None:
        """Return what is remembered, to know unlike rows: of rows the trunk did not learn from."""
        if bundle.task.kind is Kind.TAGS:
            return None  # a sentence has a vector a word, not one
        if self._is_probe(kept):
            assert self.features is not None
            given = self.trained_on[self.trained_on < self.n_given]
            return Reference.of(self.features.take(given), self.seed)
        if self.plan.is_few:
            return None  # the trunk has learned from every row
        return Reference.of(bundle.features(self.data.only(VALIDATION)), self.seed)

    def _scores(self, kept: Candidate) -> dict[str, dict[str, float]]:
        """Return the kept arm's scores by part of the data, the primary one first."""
        said: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        if kept.validation is not None:
            said[VALIDATION] = self._part(VALIDATION), kept.validation
        if self._has_folds(kept) and self.trained and self.trained.outputs is not None:
            seen = are_finite(self.trained.outputs)
            said["out_of_fold"] = self.trained_on[seen], self.trained.outputs[seen]
        test = self._part(TEST)
        if len(test):
            said[TEST] = test, self._outputs(kept, test)
            self._count_read(test)
        task, targets = labelled(self.data), targets_of(self.data)
        learns = self._part(VALIDATION, TEST, inverse=True)
        learned_from = targets[learns[learns < self.n_given]]
        return {
            part: scores(task, targets[at], outputs, kept.head.thresholds, learned_from)
            for part, (at, outputs) in said.items()
        }

    def _count_read(self, test: NDArray[np.int64]) -> None:
        """Count that the labels of the test rows are looked at: a later proof must know."""
        by = f"{self.plan.source.uri} {self.plan.source.weights_sha256} {self.plan.head}"
        by += f" {self.plan.finetune} {self.plan.phase} {self.seed} {len(self.data)}"
        with open_store() as store:
            rows = [row_hash(self.data.rows[i]) for i in test]
            count_read(store, rows, hashlib.sha256(by.encode()).hexdigest()[:24])

    def _penalty(self, kept: Candidate) -> float | None:
        """Return the penalty of a head that was solved; None where the kept one was trained."""
        is_solved = self._has_folds(kept) and self.trained is not None
        return self.trained.facts.get("penalty") if is_solved and self.trained else None

    def _is_probe(self, kept: Candidate) -> bool:
        """Say whether nothing but the head moved."""
        return kept.name == "probe"

    def _has_folds(self, kept: Candidate) -> bool:
        """Say whether rows held out in turn speak for the kept arm."""
        return self._is_probe(kept) or self.plan.is_few

    def _outputs(self, kept: Candidate, at: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._is_probe(kept):
            return self._said(kept.head, at)
        return self._bundle(kept).outputs(self.data.take(at))

    def _bundle(self, kept: Candidate) -> Bundle:
        return Bundle(kept.source, labelled(self.data), kept.head)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.taken_s[step] = time.perf_counter() - start
