"""The one gradient loop: everything that is trained by gradient goes through `descend`.

What makes a run come out the same after a kill: the order of the rows, the dropout masks and the
view of an epoch follow from (seed, epoch) alone, and a checkpoint after each epoch holds the rest
(weights, optimizer, best weights, curve).
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.ragged import content
from headstart.errors import Diverged
from headstart.heads.head import outputs_of
from headstart.losses.loss import Step, Term
from headstart.machine import (
    device,
    has_bfloat16,
    is_out_of_memory,
    kept_memory,
    n_threads,
    seeds,
)
from headstart.metrics.curve import Curve
from headstart.metrics.scores import cuts_of_others, scores
from headstart.progress import track
from headstart.runs import Run
from headstart.steps import dropout, half
from headstart.steps.attach import Tail
from headstart.steps.batches import Examples
from headstart.steps.evaluation import evaluation_batches, in_order, looked_at
from headstart.steps.optimizer import optimizer_for, trained
from headstart.steps.phase import Phase
from headstart.steps.pieces import backward_in_pieces
from headstart.steps.saved import (
    Moment,
    Pass,
    load_weights,
    random_states,
    set_random_states,
    under,
    weights_as_arrays,
    weights_of,
)
from headstart.steps.session import restored
from headstart.stopping import is_asked, safe_points, stop_if_asked
from headstart.task import Kind

#: Batches whose rows are sorted by length before they are parted; fewer than so many are not.
POOL, LEAST_POOL = 64, 8


@dataclass
class Progress:
    """Where a descent stands; what a checkpoint holds beside weights and optimizer.

    Of `seconds` those of an earlier process are a part, up to its last checkpoint.
    """

    epoch: int = 0
    step: int = 0
    rows: int = 0
    slowdown: float = 1.0
    best_loss: float = math.inf
    best_epoch: int = -1
    pieces: int = 1
    seconds: float = 0.0


def descend(
    tail: Tail,
    examples: Examples,
    validation: Examples | None,
    terms: Sequence[tuple[float, Term]],
    phase: Phase,
    *,
    seed: int = 0,
    run: Run | None = None,
) -> Curve:
    """Train what requires a gradient in `tail`; leave the best weights in it.

    Parameters
    ----------
    tail
        The trained stages and the head.
    examples, validation
        The training rows, and those that say when to stop: the first term is the one whose mean
        over them is watched. None: every epoch is run, and the last weights are the best.
    terms
        The loss is the sum of weight × term.
    phase
        How long and how fast.
    seed
        Of order, dropout and views.
    run
        Where to keep a checkpoint an epoch, and one where a person stops it; a descent that finds
        one goes on from it.

    Returns
    -------
    Curve
        Validation score and loss (training loss alone where none is watched) after each epoch,
        against rows seen and the seconds that the passes and looking at the validation rows took.

    Raises
    ------
    Diverged
        Where the loss is not finite, and was not with a tenth of the rate either.
    """
    descent = Descent(tail, examples, validation, terms, phase.check(), seed, run)
    with restored():
        descent.resume()
        with track("train", phase.epochs, unit="epochs") as bar, safe_points(), kept_memory():
            bar.advance(descent.at.epoch)
            while not descent.is_done():
                descent.epoch()
                bar.advance()
                bar.note(descent.standing())
        return descent.finish()


class Descent:
    """One training by gradient; `descend` is its front door."""

    def __init__(
        self,
        tail: Tail,
        examples: Examples,
        validation: Examples | None,
        terms: Sequence[tuple[float, Term]],
        phase: Phase,
        seed: int,
        run: Run | None,
    ) -> None:
        self.tail, self.examples, self.validation = tail, examples, validation
        self.terms, self.phase, self.seed, self.run = terms, phase, seed, run
        self.device = device()
        self.tail.to(self.device, memory_format=torch.channels_last)
        self.optimizer = optimizer_for(tail, phase)
        self.sizes = examples.rows.sizes()
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.at, self.curve = Progress(), Curve()
        self.best: dict[str, Tensor] = weights_of(tail)
        self.began = time.perf_counter()
        self.under_way: Pass | None = None
        self.name = self._identity()

    @property
    def n_batches(self) -> int:
        """Steps an epoch; a last batch of one row is joined to the one before it."""
        return max(1, round(len(self.examples) / self.phase.batch))

    def is_done(self) -> bool:
        """Say whether the cap is reached, or the validation loss has stopped falling."""
        waited = self.at.epoch - 1 - self.at.best_epoch
        return self.at.epoch >= self.phase.epochs or waited >= self.phase.patience

    def standing(self) -> str:
        """Say how low the loss is."""
        curve = self.curve
        name, losses = ("validation", curve.loss) if curve.loss else ("training", curve.train_loss)
        return f"{name} loss {losses[-1]:.4f}"

    def epoch(self) -> None:
        """Pass over the training rows once; roll back and slow down where the loss breaks."""
        self.began = time.perf_counter()
        under_way = self.under_way or self._begun()
        try:
            measured = self._measured(under_way)
        except Diverged:
            if self.at.slowdown < 1:
                raise
            under_way.before.restore(self.tail, self.optimizer)
            self.at.step, self.at.slowdown = under_way.before.step, 0.1
            measured = self._measured(self._begun())
        self.under_way = None
        self._note(measured)
        self._checkpoint()

    def _begun(self) -> Pass:
        """Begin a pass; its dropout follows from the seed and the epoch."""
        _seed_dropout(self.seed, self.at.epoch)
        return Pass(Moment.of(self.tail, self.optimizer, self.at.step), [])

    def _measured(self, under_way: Pass) -> dict[str, float]:
        """Measure a pass; weights that its last step broke are told while there is a way back."""
        measured = {"train_loss": self._pass(under_way)}
        if self.validation is not None:
            measured["loss"], measured["score"] = self.validate(self.validation)
        are_finite = all(bool(weight.isfinite().all()) for weight in trained(self.tail))
        if not (are_finite and math.isfinite(measured.get("loss", 0.0))):
            raise Diverged(self._broken(self._batches()[-1]))
        return measured

    def _pass(self, under_way: Pass) -> float:
        """Return the mean loss of one pass, begun now or before a stop."""
        self.tail.train()
        for rows in self._batches()[len(under_way.losses) :]:
            under_way.losses.append(self.step(rows))
            if is_asked():
                self.under_way = under_way
                self._count_seconds()
                self._checkpoint()
                stop_if_asked()
        return float(np.mean(under_way.losses))

    def _batches(self) -> list[NDArray[np.int64]]:
        """Return the batches of this epoch; rows of like length go together, to be padded less."""
        rng = seeds(self.seed, "order", str(self.at.epoch))
        batches = np.array_split(rng.permutation(len(self.examples)), self.n_batches)
        if self.sizes is None or len(batches) < LEAST_POOL:
            return batches
        pools = [np.concatenate(batches[i : i + POOL]) for i in range(0, len(batches), POOL)]
        alike = [pool[np.argsort(self.sizes[pool], kind="stable")] for pool in pools]
        cut = np.array_split(np.concatenate(alike), self.n_batches)
        return [cut[i] for i in rng.permutation(len(cut))]

    def step(self, rows: NDArray[np.int64]) -> float:
        """Take one step on a batch; return its first term, the one that is watched."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.at.slowdown * self.pace()
        loss = self._gradients(rows)
        nn.utils.clip_grad_norm_(trained(self.tail), 1.0)
        self.optimizer.step()
        self.at.step += 1
        return loss

    def _gradients(self, rows: NDArray[np.int64]) -> float:
        """Fill in the gradients of a batch, in smaller pieces where memory does not suffice.

        Return its first term.
        """
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            random = random_states()
            try:
                return self._backward(rows)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.at.pieces >= len(rows):
                    raise
            set_random_states(random)
            self.at.pieces = min(2 * self.at.pieces, len(rows))
            self._tell(f"Memory ran out: going on in pieces of {len(rows) // self.at.pieces} rows, "
                       f"still {len(rows)} a step.")  # fmt: skip

    def _backward(self, rows: NDArray[np.int64]) -> float:
        first: list[float] = []

        def cost(step: Step) -> Tensor:
            each: list[Tensor] = [term(step) for _, term in self.terms]
            first.append(float(each[0].detach()))
            weights = [weight for weight, _ in self.terms]
            total = torch.stack([w * one for w, one in zip(weights, each, strict=True)]).sum()
            return self._finite(total, rows)

        def forward(part: NDArray[np.int64]) -> Step:
            return self.forward(self.examples, part)

        if self.at.pieces > 1:
            parts = np.array_split(rows, self.at.pieces)
            with half.backward(self.device, self.tail.stages):
                backward_in_pieces(self.tail, forward, cost, parts)
            return first[0]
        loss = cost(forward(rows))
        with half.backward(self.device, self.tail.stages):
            loss.backward()
        return first[0]

    def _finite(self, loss: Tensor, rows: NDArray[np.int64]) -> Tensor:
        if not math.isfinite(float(loss.detach())):
            raise Diverged(self._broken(rows))
        return loss

    def pace(self) -> float:
        """Return the share of the peak rate at this step: linear warm-up, then a cosine to 0."""
        n_steps = self.n_batches * self.phase.epochs
        n_warmup = max(1, round(self.phase.warmup * n_steps))
        if self.at.step < n_warmup:
            return (self.at.step + 1) / n_warmup
        done = (self.at.step - n_warmup) / max(1, n_steps - n_warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def forward(self, examples: Examples, rows: NDArray[np.int64]) -> Step:
        """Run a batch through the tail."""
        epoch = self.at.epoch if self.tail.training else 0
        state = tuple(placed(part, self.device) for part in examples.rows.state(rows, epoch))
        with dropout.quick(self.device), half.forward(self.device, self.tail.stages):
            features, outputs = self.tail(*state)
        return Step(
            features=features.float(),
            outputs=outputs.float(),
            targets=placed(torch.from_numpy(examples.truth(rows)), self.device),
            domain=self._column(examples.domain, rows, 0),
            weight=self._column(examples.weight, rows, 1).float(),
        )

    def _column(self, values: NDArray[Any] | None, rows: NDArray[np.int64], default: int) -> Tensor:
        column = np.full(len(rows), default) if values is None else np.asarray(values)[rows]
        return placed(torch.from_numpy(column), self.device)

    @torch.no_grad()
    def validate(self, validation: Examples) -> tuple[float, float]:
        """Return the first term's mean over the validation rows, and their primary score."""
        self.tail.eval()
        _, term = self.terms[0]

        def look(rows: NDArray[np.int64]) -> tuple[float, float, NDArray[Any]]:
            step = self.forward(validation, rows)
            logits = validation.unpadded(rows, step.outputs.cpu().numpy())
            counts = float(step.weight.sum())
            return float(term(step)) * counts, counts, logits

        batches, seen = looked_at(evaluation_batches(validation), look)
        losses, counts, logits = zip(*seen, strict=True)
        loss = sum(losses) / (sum(counts) or 1.0)
        score = self._score(validation, in_order(logits, batches)) if math.isfinite(loss) else loss
        return loss, score

    def _score(self, validation: Examples, logits: NDArray[Any]) -> float:
        """Return the primary score of the validation rows, as it is told of every other model."""
        task, truth = validation.task, np.asarray(validation.targets)
        said = outputs_of(task.kind, logits)
        cuts = cuts_of_others(truth, said) if task.kind is Kind.MULTILABEL else None
        learned, domain = np.asarray(self.examples.targets), self.examples.domain
        if domain is not None:
            learned = learned[domain == 0]
        if task.kind is Kind.MULTICLASS:
            learned = learned[learned >= 0]
        return next(iter(scores(task, truth, said, cuts, learned_from=learned).values()))

    def _note(self, measured: dict[str, float]) -> None:
        at = self.at
        at.rows += len(self.examples)
        self._count_seconds()
        self.curve = self.curve.then(at.rows, seconds=at.seconds, **measured)
        loss = measured.get("loss", -at.epoch)  # unwatched, each epoch is better than the last
        if loss < at.best_loss:
            at.best_loss, at.best_epoch = loss, at.epoch
            self.best = weights_of(self.tail)
        at.epoch += 1

    def _count_seconds(self) -> None:
        """Add the seconds since the pass began, or went on."""
        now = time.perf_counter()
        self.at.seconds += now - self.began
        self.began = now

    def _broken(self, rows: NDArray[np.int64]) -> str:
        return (
            f"The loss at step {self.at.step} (epoch {self.at.epoch + 1}) is not finite; the batch "
            f"holds the training rows {', '.join(str(i) for i in rows[:8])}"
            f"{' …' if len(rows) > 8 else ''}.\nA tenth of the rate did not help. Look at these "
            f"rows, or give a smaller rate than {self.phase.rate:g}."
        )

    def _checkpoint(self) -> None:
        if self.run is None:
            return
        arrays = Moment.of(self.tail, self.optimizer, self.at.step).arrays("")
        arrays |= weights_as_arrays("best/", self.best)
        facts: dict[str, Any] = {"at": asdict(self.at), "curve": asdict(self.curve)}
        if self.under_way is not None:
            arrays |= self.under_way.before.arrays("before/")
            arrays |= weights_as_arrays("random/", random_states())
            facts |= {"losses": self.under_way.losses, "before": self.under_way.before.step}
        self.run.checkpoint(self.name, arrays, facts | {"made": conditions()})

    def resume(self) -> None:
        """Go on from the run's checkpoint, if there is one."""
        found = None if self.run is None else self.run.latest(self.name)
        if found is None:
            return
        arrays, facts = found
        self._tell_of_changes(facts["made"])
        self.at = Progress(**facts["at"])
        self.curve = Curve(**{name: tuple(values) for name, values in facts["curve"].items()})
        groups = self.optimizer.state_dict()["param_groups"]
        now = Moment.from_arrays("", arrays, groups, self.at.step)
        now.restore(self.tail, self.optimizer)
        self.best = under("best/", arrays)
        if "losses" in facts:
            before = Moment.from_arrays("before/", arrays, groups, facts["before"])
            self.under_way = Pass(before, list(facts["losses"]))
            set_random_states(under("random/", arrays))

    def _identity(self) -> str:
        """Return the checkpoint's name, which changes with all that the outcome depends on.

        A checkpoint of other rows, labels, options or starting weights is never resumed from, nor
        one of a version that noted other things.
        """
        if self.run is None:
            return ""
        weights = [weight for weight, _ in self.terms]
        options = (self.phase, self.seed, weights, self.device, *asdict(Progress()))
        digest = hashlib.sha256(repr(options).encode())
        for examples in (self.examples, *(() if self.validation is None else (self.validation,))):
            examples.rows.digest(digest)
            for column in (examples.targets, examples.domain, examples.weight):
                digest.update(b"" if column is None else content(np.asarray(column)))
        for value in self.best.values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return f"descent-{digest.hexdigest()[:16]}"

    def _tell_of_changes(self, made: dict[str, Any]) -> None:
        """Say so where the run goes on under other conditions: the last bits may differ."""
        now = conditions()
        changed = [
            f"{name} {made.get(name)} → {now[name]}" for name in now if made.get(name) != now[name]
        ]
        if changed:
            self._tell(f"Going on under other conditions ({', '.join(changed)}): the result may "
                       "differ in its last bits from an uninterrupted run.")  # fmt: skip

    def _tell(self, text: str) -> None:
        with track("resume", None) as bar:
            bar.note(text)

    def finish(self) -> Curve:
        """Put the best weights back and return the curve."""
        load_weights(self.tail, self.best)
        self.tail.eval().to("cpu")
        return self.curve


def conditions() -> dict[str, Any]:
    """Return what the last bits of a training depend on, beside its options."""
    return {"threads": n_threads(), "torch": torch.__version__, "bfloat16": has_bfloat16()}


def seconds_a_step(tail: Tail, state: tuple[Tensor, ...], phase: Phase) -> float:
    """Return the seconds of one training step on these rows; the second of two, the first warms."""
    optimizer = optimizer_for(tail, phase)
    on = device()
    tail.to(on, memory_format=torch.channels_last).train()
    try:
        with restored(), kept_memory():
            for _ in range(2):
                start = time.perf_counter()
                with dropout.quick(on), half.forward(on, tail.stages):
                    _, outputs = tail(*(placed(part, on) for part in state))
                with half.backward(on, tail.stages):
                    outputs.float().square().mean().backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if on != "cpu":
                    torch.accelerator.synchronize()  # until then it was asked for, not done
            return time.perf_counter() - start
    finally:
        tail.to("cpu")  # fewer rows may follow where memory ran out


def placed(values: Tensor, on: str) -> Tensor:
    """Return values on a device; on Apple's, which has no float64, those are narrowed.

    >>> placed(torch.zeros(1, dtype=torch.float64), "cpu").dtype
    torch.float64
    """
    return narrowed(values, on).to(on)


def narrowed(values: Tensor, on: str) -> Tensor:
    """Return values in a type that a device has.

    >>> narrowed(torch.zeros(1, dtype=torch.float64), "mps").dtype
    torch.float32
    """
    is_too_wide = on == "mps" and values.dtype == torch.float64
    return values.float() if is_too_wide else values


def _seed_dropout(seed: int, epoch: int) -> None:
    torch.manual_seed(int(seeds(seed, "dropout", str(epoch)).integers(2**31)))
