"""Numbers are learned the same whatever their unit, and said in the user's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import headstart as hs
from headstart import stopping
from headstart.data.dataset import Dataset
from headstart.features.extract import extract
from headstart.features.features import Features
from headstart.heads.linear import LinearHead
from headstart.heads.mlp import fresh_mlp
from headstart.metrics.scores import r2
from headstart.runs import Run
from headstart.sources.catalog import resolve
from headstart.steps import loop
from headstart.steps.finetune import finetune, from_scratch
from headstart.steps.phase import Phase
from headstart.steps.scale import Scale
from headstart.steps.train import train
from headstart.task import Kind, Modality, Task
from tests.toys import toy_picture_source

NUMBER = Task(Kind.REGRESSION)
#: (level, spread) of the same targets in other units.
UNITS = [(0.0, 1.0), (200_000.0, 50_000.0), (1e-4, 2e-5)]
GENTLE = Phase(epochs=2, rate=1e-5, batch=16)
QUICK = Phase(epochs=6, rate=2e-3, decay=1.0, batch=8, weight_decay=0.05, patience=6)


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    return toy_picture_source(tmp_path_factory.mktemp("source"))


def lights(level: float = 0.0, spread: float = 1.0) -> Dataset:
    """Return 64 training and 16 validation pictures with their brightness in some unit."""
    rng = np.random.default_rng(0)
    y = rng.uniform(-1.7, 1.7, 80)
    pixels = rng.integers(0, 60, (80, 36, 36, 3)) + 55 * (y + 1.7)[:, None, None, None]
    rows = tuple(pixels.astype(np.uint8))
    split = np.where(np.arange(80) < 64, "train", "validation")
    return Dataset(Modality.IMAGE, rows, NUMBER, y * spread + level, split)


def rows_of(targets: list[float], **more: object) -> Dataset:
    return Dataset(Modality.TEXT, ("a",) * len(targets), NUMBER, np.array(targets), **more)


def linear() -> LinearHead:
    return LinearHead(np.ones((1, 2)), np.zeros(1), Kind.REGRESSION)


def test_the_scale_is_that_of_the_rows_that_count():
    weight = np.array([1.0, 3.0, 0.0, 1.0])
    found = Scale.of(linear(), rows_of([1.0, 5.0, 9.0, float("nan")], weight=weight))
    assert found.level == 4.0
    assert found.spread == pytest.approx(np.sqrt(3.0))


def test_targets_that_do_not_vary_are_taken_from_their_level_alone():
    assert Scale.of(linear(), rows_of([0.1] * 7)) == Scale(0.1, 1.0)
    assert Scale.of(linear(), rows_of([float("nan")] * 2)) == Scale()


def test_classes_and_their_heads_stay_as_they_are():
    data = Dataset(Modality.TEXT, ("a", "b"), Task(Kind.MULTICLASS, ("x", "y")), np.array([0, 1]))
    head = LinearHead(np.ones((2, 2), np.float32), np.zeros(2, np.float32), Kind.MULTICLASS)
    scale = Scale.of(head, data)
    assert scale == Scale()
    assert scale.down(head) is head and scale.up(head) is head and scale.rows(data) is data


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_head_taken_down_says_what_is_learned_and_taken_up_what_it_said(name):
    values = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    head = linear()
    if name == "mlp":
        head = fresh_mlp(Features.of(values), NUMBER, targets=1e9 + values[:, 0], hidden=4)
    said, scale = head.outputs(values), Scale(1e9, 3.0)
    down = scale.down(head)
    np.testing.assert_allclose(down.outputs(values), (said - 1e9) / 3, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scale.raw(down.outputs(values)), said, rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(scale.up(down).outputs(values), said, rtol=1e-12, atol=1e-6)
    assert type(head).from_state(*down.state()).outputs(values).tolist() == (
        down.outputs(values).tolist()
    )


def learned_from_scratch(uri: str, unit: tuple[float, float]):
    return from_scratch(resolve("scratch:" + uri), lights(*unit), phase=QUICK)


def learned_by_step_5(uri: str, unit: tuple[float, float]):
    data = lights(*unit)
    source = resolve(uri)
    features = extract(source, data)
    head = train("linear", features.take(np.arange(64)), data.training()).head
    return finetune(source, "last:1", head, data, phase=GENTLE)


@pytest.mark.parametrize("learned", [learned_from_scratch, learned_by_step_5])
def test_a_number_is_learned_as_well_in_any_unit(learned, uri):
    made = [learned(uri, unit) for unit in UNITS]
    scores = [
        r2(lights(*unit).targets[64:], one.validation[:, 0])
        for unit, one in zip(UNITS, made, strict=True)
    ]
    assert scores[0] > 0.5
    assert scores == pytest.approx([scores[0]] * 3, abs=0.01)
    for one, score in zip(made, scores, strict=True):
        np.testing.assert_allclose(one.curve.loss, made[0].curve.loss, rtol=0.2)
        assert one.curve.score[one.curve.best] == pytest.approx(score, abs=0.01)  # bfloat16
        assert one.head.weight.dtype == np.float64


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_step_5_starts_where_step_4_ended_in_any_unit(name, unit, uri):
    data, source = lights(*unit), resolve(uri)
    features = extract(source, data)
    head = train(name, features.take(np.arange(64)), data.training()).head
    still = Phase(epochs=1, rate=1e-12, batch=16)
    made = finetune(source, "last:1", head, data, phase=still)
    wanted = head.outputs(features.take(np.arange(64, 80)).array())
    # What is cached below the boundary is rounded to float16.
    assert np.abs(made.validation - wanted).max() <= 0.02 * unit[1]


def test_the_public_fit_says_numbers_in_the_users_unit(uri):
    for level, spread in UNITS:
        data = lights(level, spread)
        model = hs.Transfer(uri, finetune="only:last:1", phase=GENTLE).fit(data)
        assert model.scores_["validation"]["r2"] > 0.9
        said = model.predict(data.rows[64:])
        assert r2(data.targets[64:], said) == pytest.approx(
            model.scores_["validation"]["r2"], abs=1e-3
        )


def test_what_was_begun_in_raw_units_is_not_gone_on_with(uri, tmp_path, monkeypatch):
    """Checkpoints are named by targets and starting weights, which both were others."""
    source, data = resolve(uri), lights(*UNITS[1])
    head = train("linear", extract(source, data), data).head
    phase = replace(QUICK, batch=16, epochs=1)

    def made(**more):
        found = [
            from_scratch(resolve("scratch:" + uri), data, phase=phase, **more),
            finetune(source, "last:1", head, data, phase=phase, **more),
        ]
        return [one.validation.tolist() for one in found]

    with monkeypatch.context() as before, Run(tmp_path / "run") as run:
        before.setattr(Scale, "of", lambda *_: Scale())
        made(run=run)
    with Run(tmp_path / "run") as run:
        assert made(run=run) == made()


def test_a_training_on_numbers_that_is_stopped_goes_on_to_the_same_bytes(
    uri, tmp_path, monkeypatch
):
    data, calls = lights(*UNITS[2]), []

    def ask() -> bool:
        calls.append(1)
        if len(calls) == 6:  # of four steps an epoch, in the second
            monkeypatch.setattr(stopping._Asked, "number", 15)
        return stopping.is_asked()

    def made(folder: str):
        with Run(tmp_path / folder) as run:
            return from_scratch(
                resolve("scratch:" + uri), data, phase=replace(QUICK, batch=16, epochs=2), run=run
            )

    whole = made("whole")
    monkeypatch.setattr(loop, "is_asked", ask)
    with pytest.raises(stopping.Terminated):
        made("stopped")
    calls.extend([0] * 100)
    resumed = made("stopped")
    assert resumed.validation.tolist() == whole.validation.tolist()
    assert resumed.head.weight.tolist() == whole.head.weight.tolist()
    assert resumed.curve == whole.curve
    moved, wanted = resumed.backbone.state_dict(), whole.backbone.state_dict()
    assert all(torch.equal(moved[name], value) for name, value in wanted.items())
