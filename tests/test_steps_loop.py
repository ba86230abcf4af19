"""The one gradient loop: several terms, several domains, and a kill in the middle."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from headstart.errors import Diverged, UsageError
from headstart.features.features import Features
from headstart.heads.head import outputs_of
from headstart.heads.linear import LinearHead
from headstart.losses.loss import Step, Supervised
from headstart.metrics.curve import Curve
from headstart.metrics.scores import cuts_of_others, scores
from headstart.steps.attach import Tail
from headstart.steps.batches import CachedRows, Examples
from headstart.steps.evaluation import logits_of
from headstart.steps.loop import Descent, descend
from headstart.steps.phase import Phase
from headstart.steps.saved import (
    Moment,
    random_states,
    set_random_states,
    under,
    weights_as_arrays,
)
from headstart.task import Kind, Task

TASK = Task(Kind.MULTICLASS, ("low", "high"))
PHASE = Phase(epochs=6, rate=0.05, batch=8, weight_decay=0.0, patience=6)


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows whose first number tells the class; shape (n, 4)."""
    features = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    return features, (features[:, 0] > 0).astype(np.int64)


def examples(n: int = 64, seed: int = 0, **more: object) -> Examples:
    features, targets = rows(n, seed)
    return Examples(CachedRows([Features.of(features)]), targets, TASK, **more)


def tail() -> Tail:
    head = LinearHead(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), Kind.MULTICLASS)
    return Tail(None, 0, head.module())


def weights(made: Tail) -> list[list[float]]:
    return [value.tolist() for value in made.state_dict().values()]


def test_it_learns_and_leaves_the_best_weights():
    made = tail()
    curve = descend(made, examples(), examples(32, 1), [(1.0, Supervised(TASK.kind))], PHASE)
    assert curve.score[-1] > 0.85
    assert curve.seen == tuple(64 * (i + 1) for i in range(6))
    terms = [(1.0, Supervised(TASK.kind))]
    held_out = Descent(made, examples(), examples(32, 1), terms, PHASE, 0, None)
    assert held_out.validate(held_out.validation)[0] == pytest.approx(min(curve.loss), rel=1e-5)


class Apart:
    """A term of its own: pull the two domains' mean outputs together."""

    def __init__(self) -> None:
        self.domains: set[tuple[int, ...]] = set()

    def __call__(self, step: Step) -> torch.Tensor:
        self.domains.add(tuple(sorted(set(step.domain.tolist()))))
        one, two = step.outputs[step.domain == 0], step.outputs[step.domain == 1]
        if not len(one) or not len(two):
            return step.outputs.sum() * 0
        return (one.mean(dim=0) - two.mean(dim=0)).square().sum()


def two_domains() -> Examples:
    """Return rows of which every other one is unlabelled, and moved by 3 along every axis."""
    features, targets = rows(64, 0)
    domain = np.arange(64) % 2
    shifted = features + 3 * domain[:, None].astype(np.float32)
    partly = np.where(domain == 0, targets, -1)
    return Examples(CachedRows([Features.of(shifted)]), partly, TASK, domain=domain)


def test_without_rows_to_watch_every_epoch_is_run_and_the_last_weights_stay():
    made, watched = tail(), tail()
    terms = [(1.0, Supervised(TASK.kind))]
    curve = descend(made, examples(), None, terms, replace(PHASE, patience=1))
    same = descend(watched, examples(), examples(32, 1), terms, PHASE)
    assert curve.seen == same.seen and curve.train_loss == same.train_loss
    assert curve.loss == curve.score == ()
    assert same.loss == tuple(sorted(same.loss, reverse=True))  # there the last are the best too
    assert weights(made) == weights(watched)


def test_two_terms_and_two_domains():
    """Unlabelled rows of a second domain count in the second term only."""
    data = two_domains()
    domain = np.asarray(data.domain)

    def gap(weight: float) -> float:
        made, term = tail(), Apart()
        descend(made, data, examples(32, 1), [(1.0, Supervised(TASK.kind)), (weight, term)], PHASE)
        assert (0, 1) in term.domains
        said = made.head(*data.rows.state(np.arange(64), 0)).detach().numpy()
        return float(np.abs(said[domain == 0].mean(0) - said[domain == 1].mean(0)).sum())

    assert gap(10.0) < 0.5 * gap(0.0)


def test_rows_without_a_number_cost_nothing():
    """Their targets are not finite; nothing of that may reach the loss or its gradient."""
    outputs = torch.tensor([[3.0], [5.0], [7.0]], requires_grad=True)
    targets = torch.tensor([1.0, float("nan"), float("inf")])
    step = Step(outputs, outputs, targets, torch.zeros(3), torch.ones(3))
    loss = Supervised(Kind.REGRESSION)(step)
    loss.backward()
    assert float(loss.detach()) == 4.0
    assert outputs.grad is not None
    assert outputs.grad.ravel().tolist() == [4.0, 0.0, 0.0]


def test_weights_of_rows_count():
    """A row of weight 0 teaches nothing: wrong labels there do no harm."""
    features, targets = rows(64, 0)
    wrong = np.arange(64) < 32
    data = Examples(
        CachedRows([Features.of(features)]), np.where(wrong, 1 - targets, targets), TASK,
        weight=np.where(wrong, 0.0, 1.0),
    )  # fmt: skip
    curve = descend(tail(), data, examples(32, 1), [(1.0, Supervised(TASK.kind))], PHASE)
    assert max(curve.score) > 0.75  # half the labels wrong would leave 0.5


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_steps_loop import *
from pathlib import Path
import time
from headstart.runs import Run
torch.set_num_threads(1)
class Slow(Supervised):
    calls = 0
    def __call__(self, step):
        Slow.calls += 1
        time.sleep(0.01)
        return super().__call__(step)
made, apart = tail(), Apart()
terms = [(1.0, Slow(TASK.kind)), (0.5, apart)]
with Run(Path(sys.argv[1])) as run:
    descend(made, two_domains(), examples(32, 1), terms, PHASE, seed=3, run=run)
print(weights(made), (0, 1) in apart.domains)
(Path(sys.argv[1]) / "calls").write_text(str(Slow.calls))
"""


def start(folder: Path) -> subprocess.Popen[str]:
    script = textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent)))
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_descent_of_two_terms_and_domains_goes_on_to_the_same_bytes(tmp_path: Path):
    whole, _ = start(tmp_path / "whole").communicate(timeout=60)
    killed = start(tmp_path / "killed")
    checkpoints = tmp_path / "killed" / "checkpoints"
    while not list(checkpoints.glob("descent*")):
        assert killed.poll() is None, "it ended before the kill"
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    resumed, _ = start(tmp_path / "killed").communicate(timeout=60)
    assert whole.strip().endswith("True")
    assert resumed == whole
    calls = [int((tmp_path / folder / "calls").read_text()) for folder in ("whole", "killed")]
    assert calls[1] < calls[0]  # from the beginning it would come to the same bytes, too


def test_a_loss_that_breaks_once_is_rolled_back_and_slowed_down():
    class Once(Supervised):
        calls = 0

        def __call__(self, step: Step) -> torch.Tensor:
            Once.calls += 1
            loss = super().__call__(step)
            return loss * float("nan") if Once.calls == 20 else loss

    curve = descend(tail(), examples(), examples(32, 1), [(1.0, Once(TASK.kind))], PHASE)
    assert len(curve) == 6
    assert np.isfinite(curve.train_loss).all()


def test_a_loss_that_stays_broken_names_the_step_and_the_rows():
    class Always(Supervised):
        def __call__(self, step: Step) -> torch.Tensor:
            return super().__call__(step) * float("nan")

    with pytest.raises(Diverged, match=r"step 0 .*training rows \d+"):
        descend(tail(), examples(), examples(32, 1), [(1.0, Always(TASK.kind))], PHASE)


def test_weights_that_the_last_step_of_a_pass_broke_are_not_where_the_next_begins():
    """One step a pass, so fast that validation overflows: a tenth of the rate does not."""
    phase = Phase(epochs=4, rate=4e37, batch=64, patience=4, weight_decay=0.0)
    terms = [(1.0, Supervised(TASK.kind))]
    made = Descent(tail(), examples(), examples(32, 1), terms, phase, 0, None)
    while not made.is_done():
        made.epoch()
    assert made.at.slowdown == 0.1 and made.at.step == len(made.curve) == 4
    assert np.isfinite([*made.curve.loss, *made.curve.train_loss]).all()


def test_weights_that_nothing_watches_are_looked_at_themselves():
    made, phase = tail(), Phase(epochs=1, rate=1e39, batch=64, optimizer="sgd")
    descend(made, examples(), None, [(1.0, Supervised(TASK.kind))], phase)
    assert np.isfinite(np.concatenate([np.ravel(one) for one in weights(made)])).all()
    wild = replace(phase, rate=1e41)
    with pytest.raises(Diverged, match=r"training rows \d+"):
        descend(tail(), examples(), None, [(1.0, Supervised(TASK.kind))], wild)


def test_it_stops_when_validation_stops_improving():
    """Labels that say nothing: the validation loss cannot fall for long."""
    features, _ = rows(32, 5)
    noise = Examples(
        CachedRows([Features.of(features)]), np.random.default_rng(0).integers(2, size=32), TASK
    )
    phase = Phase(epochs=200, rate=0.2, batch=8, patience=3)
    curve = descend(tail(), noise, examples(32, 1), [(1.0, Supervised(TASK.kind))], phase)
    assert len(curve) < 50
    assert int(np.argmin(curve.loss)) == len(curve) - 1 - 3


def test_a_phase_that_cannot_be_right_says_what_and_the_range():
    with pytest.raises(UsageError, match=r"(?s)Phase\(rate=-1\).*rates and cache_gb > 0"):
        Phase(rate=-1).check()


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", "3"), ("views", 2.0), ("rate", None), ("batch", True)]
)
def test_a_phase_of_what_is_no_number_says_so(name, value):
    with pytest.raises(UsageError, match=rf"Phase\({name}={value!r}\).*\nExpected numbers"):
        Phase(**{name: value}).check()


def test_a_disk_without_end_keeps_every_view():
    assert Phase(views=4, cache_gb=float("inf")).check().capped(10**6).views == 4


def test_the_watched_loss_is_a_weighted_mean_however_rows_are_batched(monkeypatch):
    told, counts = [], np.linspace(0.0, 4.0, 32) ** 2
    seen = examples(32, 1, weight=counts)
    for size in (32, 5, 1):
        cut = [np.arange(32)[i : i + size] for i in range(0, 32, size)]
        monkeypatch.setattr("headstart.steps.loop.evaluation_batches", lambda _, cut=cut: cut)
        descent = Descent(tail(), examples(), seen, [(1.0, Supervised(TASK.kind))], PHASE, 0, None)
        descent.epoch()
        told.append(descent.curve.loss[0])
    assert told == pytest.approx([told[0]] * 3, rel=1e-5)


# -- memory and stops -----------------------------------------------------------------------------


def wide_tail() -> Tail:
    torch.manual_seed(0)
    layers = [
        torch.nn.Linear(4, 16),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(16, 2),
    ]
    return Tail(None, 0, torch.nn.Sequential(*layers))


class Small(Examples):
    """Rows of which only so many fit into memory; `asked` are the sizes that were tried."""

    limit, error = 64, MemoryError()

    def __init__(self, *parts: object, **more: object) -> None:
        super().__init__(*parts, **more)
        object.__setattr__(self, "asked", [])

    def __getattribute__(self, name: str) -> object:
        if name == "rows":
            return self
        return super().__getattribute__(name)

    def __len__(self) -> int:
        return 64

    def sizes(self) -> None:
        return None

    def digest(self, into: object) -> None:
        self.__dict__["rows"].digest(into)

    def state(self, index: np.ndarray, epoch: int) -> tuple[torch.Tensor, ...]:
        self.asked.append(len(index))
        if len(index) > self.limit:
            raise self.error
        return self.__dict__["rows"].state(index, epoch)


class Short(CachedRows):
    """Rows of which no more than 13 fit into memory; `asked` are the sizes that were tried."""

    def __init__(self, views: object) -> None:
        super().__init__(views)
        self.asked: list[int] = []

    def state(self, index: np.ndarray, epoch: int) -> tuple[torch.Tensor, ...]:
        self.asked.append(len(index))
        if len(index) > 13:
            raise MemoryError
        return super().state(index, epoch)


def learned(limit: int, error: Exception, terms: list, run: object = None) -> tuple:
    features, targets = rows(64, 0)
    data = Small(CachedRows([Features.of(features)]), targets, TASK, domain=np.arange(64) % 2)
    data.__dict__["limit"], data.__dict__["error"] = limit, error
    made = wide_tail()
    curve = descend(made, data, examples(32, 1), terms, PHASE, seed=1, run=run)
    return curve, data.asked, weights(made)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] out of memory")])
def test_where_memory_runs_out_the_batch_stays_and_the_curve_with_it(error):
    terms = [(1.0, Supervised(TASK.kind)), (0.5, Apart())]
    whole, asked, _ = learned(64, error, terms)
    assert set(asked) == {8}
    pieces, asked, _ = learned(3, error, terms)
    assert asked[:3] == [8, 4, 2] and max(asked[3:]) == 2
    # With dropout a piece draws other numbers than the whole: it is switched off for this.
    torch.nn.Dropout.forward, before = (lambda self, x: x), torch.nn.Dropout.forward
    try:
        whole, pieces = (learned(limit, error, terms)[0] for limit in (64, 3))
    finally:
        torch.nn.Dropout.forward = before
    np.testing.assert_allclose(pieces.loss, whole.loss, atol=1e-5)
    np.testing.assert_allclose(pieces.train_loss, whole.train_loss, atol=1e-5)


def test_where_memory_runs_out_while_rows_are_looked_at_they_are_looked_at_in_parts():
    held_out = examples(150, 1)
    short = Short(held_out.rows.views)
    said = logits_of(tail(), held_out)
    assert logits_of(tail(), replace(held_out, rows=short)).tolist() == said.tolist()
    assert short.asked == [50, 25, *[13, 12] * 2, *[13, 13, 12, 12] * 2]
    terms, asked = [(1.0, Supervised(TASK.kind))], len(short.asked)
    descent = Descent(tail(), examples(), replace(held_out, rows=short), terms, PHASE, 0, None)
    whole = Descent(tail(), examples(), held_out, terms, PHASE, 0, None)
    assert descent.validate(descent.validation) == pytest.approx(whole.validate(held_out))
    assert len(short.asked) == 2 * asked


def test_random_numbers_of_every_device_are_drawn_again(monkeypatch):
    cards = [torch.Generator().manual_seed(i) for i in (1, 2)]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda i: cards[i].get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, i: cards[i].set_state(state))

    def drawn():
        return [float(torch.rand(1)), *(float(torch.rand(1, generator=one)) for one in cards)]

    kept = weights_as_arrays("random/", random_states())
    first, later = drawn(), drawn()
    set_random_states(under("random/", kept))
    assert drawn() == first != later
    cards.pop()  # another machine has one card
    set_random_states(under("random/", kept))
    assert drawn() == first[:2]


def test_where_not_one_row_fits_it_says_so():
    with pytest.raises(MemoryError):
        learned(0, MemoryError(), [(1.0, Supervised(TASK.kind))])


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shape"):
        learned(3, RuntimeError("shape mismatch"), [(1.0, Supervised(TASK.kind))])


@pytest.mark.parametrize("at", [3, 8, 21])
def test_a_stop_in_the_middle_of_a_pass_goes_on_to_the_same_bytes(at, tmp_path, monkeypatch):
    from headstart import stopping
    from headstart.runs import Run
    from headstart.steps import loop

    calls = []

    def ask() -> bool:
        calls.append(1)
        if len(calls) == at:
            monkeypatch.setattr(stopping._Asked, "number", int(signal.SIGTERM))
        return stopping.is_asked()

    def learn(folder: str) -> list:
        made = wide_tail()
        with Run(tmp_path / folder) as run:
            descend(made, examples(), examples(32, 1), [(1.0, Supervised(TASK.kind))], PHASE,
                    seed=3, run=run)  # fmt: skip
        return weights(made)

    whole = learn("whole")
    monkeypatch.setattr(loop, "is_asked", ask)
    with pytest.raises(stopping.Terminated):
        learn("stopped")
    calls.extend([0] * 100)
    assert learn("stopped") == whole


def test_seconds_are_those_of_the_passes_and_add_up_over_processes(tmp_path, monkeypatch):
    """A clock that a batch moves on by a second, and the time between two processes by much."""
    from headstart import stopping
    from headstart.runs import Run
    from headstart.steps import loop

    now, asked = [0.0], []

    def term(step: Step) -> torch.Tensor:
        now[0] += 1.0
        return Supervised(TASK.kind)(step)

    def ask() -> bool:
        asked.append(1)
        if len(asked) == 11:  # in the second pass
            monkeypatch.setattr(stopping._Asked, "number", int(signal.SIGTERM))
        return stopping.is_asked()

    def learn(folder: str) -> Curve:
        with Run(tmp_path / folder) as run:
            return descend(tail(), examples(), examples(32, 1), [(1.0, term)], PHASE, run=run)

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    whole = learn("whole")
    assert whole.seconds == tuple(9.0 * (i + 1) for i in range(6))  # 8 steps, and one look
    monkeypatch.setattr(loop, "is_asked", ask)
    with pytest.raises(stopping.Terminated):
        learn("stopped")
    now[0] += 1000.0
    asked.extend([0] * 100)
    resumed = learn("stopped")
    assert resumed == whole and resumed.seconds == whole.seconds


def test_a_checkpoint_that_notes_other_things_is_another_one(tmp_path, monkeypatch):
    from headstart.runs import Run
    from headstart.steps import loop

    @dataclass
    class Earlier(loop.Progress):
        lost: int = 0

    def name() -> str:
        terms = [(1.0, Supervised(TASK.kind))]
        return Descent(tail(), examples(), None, terms, PHASE, 0, run).name

    with Run(tmp_path) as run:
        now = name()
        assert name() == now
        monkeypatch.setattr(loop, "Progress", Earlier)
        assert name() != now


def test_a_step_after_a_checkpoint_is_the_step_without_one_where_channels_come_last():
    torch.manual_seed(0)
    pictures = torch.randn(2, 3, 8, 8)

    def step(network, optimizer):
        optimizer.zero_grad()
        network(pictures).square().mean().backward()
        optimizer.step()

    def made():
        network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return network, torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)

    network, optimizer = made()
    step(network, optimizer)
    moment = Moment.of(network, optimizer, 1)
    groups = optimizer.state_dict()["param_groups"]
    other, its = made()
    read = {name: np.ascontiguousarray(value) for name, value in moment.arrays("").items()}
    Moment.from_arrays("", read, groups, 1).restore(other, its)
    for one in ((network, optimizer), (other, its)):
        step(*one)
    assert torch.equal(network.weight, other.weight)


@pytest.mark.parametrize(("kind", "name"), [
    (Kind.MULTICLASS, "macro_f1"), (Kind.MULTILABEL, "macro_f1"),
])  # fmt: skip
def test_the_score_on_the_curve_is_the_one_that_models_are_told_by(kind, name):
    """Of classes of 7 to 1 it is macro F1, as of the probe that it is compared with."""
    features, _ = rows(64, 0)
    targets = (features[:, 0] > 1.1).astype(np.int64)
    if kind is Kind.MULTILABEL:
        targets = np.stack([targets, features[:, 1] > 0.5], axis=1).astype(np.int8)
    some = Examples(CachedRows([Features.of(features)]), targets, Task(kind, ("low", "high")))
    head = LinearHead(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), kind)
    made = Tail(None, 0, head.module())
    curve = descend(made, some, some, [(1.0, Supervised(kind))], replace(PHASE, epochs=1))
    said = outputs_of(kind, logits_of(made, some))
    cuts = cuts_of_others(targets, said) if kind is Kind.MULTILABEL else None
    found = scores(some.task, targets, said, cuts)
    assert next(iter(found)) == name
    assert curve.score[-1] == pytest.approx(found[name])


@pytest.mark.parametrize("is_broken", [False, True])
def test_the_random_numbers_and_the_threads_of_a_person_stay(is_broken, monkeypatch):
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    threads, seen, made = torch.get_num_threads(), [], tail()

    def term(step: Step) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return Supervised(TASK.kind)(step) * (float("nan") if is_broken else 1.0)

    torch.set_num_threads(2)
    try:
        torch.manual_seed(5)
        expected = float(torch.rand(1))
        torch.manual_seed(5)
        with pytest.raises(Diverged) if is_broken else nullcontext():
            descend(made, examples(), examples(32, 1), [(1.0, term)], replace(PHASE, epochs=1))
        assert (float(torch.rand(1)), torch.get_num_threads()) == (expected, 2)
        assert set(seen) == {1}
        logits_of(made, examples())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
