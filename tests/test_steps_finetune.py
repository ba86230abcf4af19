"""Step 5 from cached activations: where it starts, what moves, what stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from headstart.data.dataset import Dataset
from headstart.errors import ResourceError, UsageError
from headstart.features.extract import extract
from headstart.sources.catalog import open_backbone, resolve
from headstart.steps.attach import Tail, attach
from headstart.steps.batches import CachedRows, DecodedRows
from headstart.steps.finetune import finetune, from_scratch, rehearse
from headstart.steps.freeze import boundary_of, fingerprint, freeze
from headstart.steps.phase import Phase
from headstart.steps.train import train
from headstart.task import Kind, Modality, Task
from headstart.transfer.plan import intend
from tests.test_steps_fold import Norms
from tests.toys import toy_picture_source, toy_text_source

TASK = Task(Kind.MULTICLASS, ("dark", "light"))
SHORT = Phase(epochs=2, rate=1e-3, batch=8, views=2, patience=2)


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(32) % 2
    rows = [rng.integers(0, 120, size=(36, 36, 3), dtype=np.uint8) + 100 * int(c) for c in y]
    split = np.where(np.arange(32) < 24, "train", "validation")
    return Dataset(Modality.IMAGE, tuple(rows), TASK, y.astype(np.int64), split)


@pytest.fixture(scope="module")
def texts() -> Dataset:
    y = np.arange(24) % 2
    rows = tuple(("good fine " if c else "bad poor ") + "thing " * (i % 5) for i, c in enumerate(y))
    split = np.where(np.arange(24) < 18, "train", "validation")
    return Dataset(Modality.TEXT, rows, TASK, y.astype(np.int64), split)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[Modality, str]:
    folder = tmp_path_factory.mktemp("sources")
    return {
        Modality.IMAGE: toy_picture_source(folder / "pictures"),
        Modality.TEXT: toy_text_source(folder / "texts"),
    }


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.TEXT])
def test_step_0_gives_the_logits_of_the_probe(modality, sources, pictures, texts):
    """The head's scaler is folded in, so fine-tuning starts exactly where step 4 ended."""
    data = pictures if modality is Modality.IMAGE else texts
    source = resolve(sources[modality])
    head = train("linear", extract(source, data), data).head
    backbone = open_backbone(source)
    boundary = boundary_of("last:1", backbone.names, backbone.blocks)
    freeze(backbone, boundary)
    tail = attach(backbone, boundary, head).eval()
    with torch.no_grad():
        inputs = DecodedRows(data, source.preprocess).state(np.arange(len(data)), 0)
        _, logits = tail(*backbone.run(inputs, 0, boundary))
        wanted = head.logits(backbone(*inputs).numpy())
    assert np.abs(logits.numpy() - wanted).max() <= 1e-3


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.TEXT])
def test_cached_activations_are_those_of_the_network_but_for_their_rounding(
    modality, sources, pictures, texts
):
    data = pictures if modality is Modality.IMAGE else texts
    source = resolve(sources[modality])
    backbone = open_backbone(source)
    at = np.arange(len(data))
    cached = CachedRows([extract(source, data, boundary=2, pooled=False)]).state(at, 0)
    with torch.no_grad():
        fresh = backbone.run(DecodedRows(data, source.preprocess).state(at, 0), 0, 2)
    known = slice(None) if modality is Modality.IMAGE else fresh[1].bool()
    gap = (cached[0][known] - fresh[0][known]).abs().max() / fresh[0][known].abs().max()
    assert gap <= 1e-3  # float16
    assert all(torch.equal(*masks) for masks in zip(cached[1:], fresh[1:], strict=True))


def test_what_is_below_the_boundary_keeps_its_bytes_and_the_rest_moves(sources, pictures):
    source = resolve(sources[Modality.IMAGE])
    head = train("linear", extract(source, pictures), pictures).head
    made = finetune(source, "last:1", head, pictures, phase=SHORT)
    before, after = open_backbone(source), open_backbone(made.keep())
    assert 0 < made.boundary < before.n_stages
    assert fingerprint(before, made.boundary) == fingerprint(after, made.boundary)
    assert fingerprint(before, before.n_stages) != fingerprint(after, after.n_stages)
    moved = dict(after.named_buffers())
    for name, value in before.named_buffers():  # statistics stay those of the source everywhere
        assert torch.equal(value, moved[name]), name


@pytest.mark.parametrize("boundary", ["last:1", "all"])
def test_rows_that_count_nothing_move_nothing(boundary, sources, pictures):
    """Whatever their labels: from cached activations, and from decoded rows."""
    source = resolve(sources[Modality.IMAGE])
    weight = np.where(np.arange(32) < 12, 0.0, 1.0)
    turned = np.where(weight == 0, 1 - pictures.targets, pictures.targets)
    head = train("linear", extract(source, pictures), pictures).head
    made = [
        finetune(source, boundary, head, replace(pictures, targets=targets, weight=weight),
                 phase=SHORT).keep().weights_sha256
        for targets in (pictures.targets, turned)
    ]  # fmt: skip
    assert made[0] == made[1]


def test_finetuning_twice_gives_the_same_bytes(sources, pictures):
    source = resolve(sources[Modality.IMAGE])
    head = train("linear", extract(source, pictures), pictures).head
    made = [finetune(source, "last:1", head, pictures, phase=SHORT, seed=5) for _ in range(2)]
    assert made[0].keep().weights_sha256 == made[1].keep().weights_sha256


def test_below_the_boundary_nothing_is_run_again(sources, pictures):
    """Activations are computed once a view, not once an epoch."""
    source = resolve(sources[Modality.IMAGE])
    head = train("linear", extract(source, pictures), pictures).head
    made = finetune(source, "last:2", head, pictures, phase=SHORT)
    again = extract(source, pictures.training(), boundary=made.boundary, pooled=False, views=3)
    assert [view.n_computed for view in again] == [0, 0, 0]


def test_from_scratch_moves_everything_and_its_batchnorm_statistics(sources, pictures):
    source = resolve(f"scratch:{sources[Modality.IMAGE]}", seed=1)
    made = from_scratch(source, pictures, phase=SHORT, seed=1)
    before, after = open_backbone(source), open_backbone(made.keep())
    moved = dict(after.named_buffers())
    means = [name for name in moved if name.endswith("running_mean")]
    assert means
    assert all(
        not torch.equal(value, moved[name])
        for name, value in before.named_buffers()
        if name in means
    )


def test_a_boundary_that_leaves_nothing_to_train_is_refused(sources, pictures):
    source = resolve(sources[Modality.IMAGE])
    head = train("linear", extract(source, pictures), pictures).head
    with pytest.raises(UsageError, match="leaves nothing to train"):
        finetune(source, "head", head, pictures, phase=SHORT)


def test_step_5_runs_no_batchnorm_and_scratch_does(sources, pictures):
    source = resolve(sources[Modality.IMAGE])
    with Norms() as opening:
        backbone = open_backbone(source)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    head = train("linear", extract(source, pictures), pictures).head
    once = Phase(epochs=1, batch=32)
    with Norms() as tuned:
        finetune(source, "all", head, pictures, phase=once)
    with Norms() as scratch:
        from_scratch(resolve("scratch:" + sources[Modality.IMAGE]), pictures, phase=once)
    # Twice: to see which feeds which, and what they say unfolded.
    assert tuned.n - opening.n == 2 * len(norms)
    assert scratch.n - opening.n > 2 * len(norms)


def test_the_rehearsal_names_stages_rates_and_bytes(sources, pictures):
    source = resolve(sources[Modality.IMAGE])
    seen = rehearse(source, "last:1", Phase(rate=1.0, decay=0.5, head_rate=3.0), pictures)
    trained = seen.stages[seen.boundary :]
    assert [seen.rates[name] for name in trained] == [0.5**i for i in reversed(range(len(trained)))]
    assert seen.rates["head"] == 3.0
    assert seen.bytes_a_row > 0 and seen.seconds_a_row > 0


@pytest.fixture
def scarce(monkeypatch):
    """Make memory run out in a forward pass on more rows than `limit`; return what was tried."""
    forward = Tail.forward

    def scarce(limit: int, error: Exception) -> list[int]:
        tried: list[int] = []

        def counted(self, *state):
            tried.append(len(state[0]))
            if len(state[0]) > limit:
                raise error
            return forward(self, *state)

        monkeypatch.setattr(Tail, "forward", counted)
        return tried

    return scarce


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried …")])
@pytest.mark.parametrize("uri", ["{}", "scratch:{}"])
def test_where_memory_runs_out_the_rehearsal_takes_fewer_rows(
    uri, error, sources, pictures, scarce
):
    source = resolve(uri.format(sources[Modality.IMAGE]))
    whole, _ = intend(source, pictures, "linear", "last:1", Phase(batch=16), 0)
    tried = scarce(4, error)
    plan, _ = intend(source, pictures, "linear", "last:1", Phase(batch=16), 0)
    assert {16, 8, 4} == set(tried)
    assert plan.phase == whole.phase
    assert plan.cache_bytes == whole.cache_bytes
    assert sum(plan.expected_s.values()) > 0


def test_where_not_one_row_fits_step_5_is_left_alone_unless_asked_for(sources, scarce):
    rng, y = np.random.default_rng(0), np.arange(100) % 2
    data = Dataset(Modality.IMAGE, tuple(rng.integers(0, 255, (100, 36, 36, 3), np.uint8)), TASK, y)
    source = resolve(sources[Modality.IMAGE])
    scarce(0, MemoryError())
    plan, parted = intend(source, data, "linear", "auto", None, 0)
    assert plan.finetune.startswith("no: memory ran out") and plan.phase is None
    assert parted is data
    with pytest.raises(ResourceError, match="single row"):
        intend(source, data, "linear", "last:1", None, 0)


def test_other_errors_of_a_rehearsal_are_not_taken_for_memory(sources, pictures, scarce):
    scarce(4, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape"):
        rehearse(resolve(sources[Modality.IMAGE]), "last:1", Phase(), pictures)


def test_decoded_rows_are_decoded_once_a_view(pictures, sources, monkeypatch):
    rows = DecodedRows(pictures, resolve(sources[Modality.IMAGE]).preprocess, views=2)
    decoded = []
    plain = type(rows.inputs).row
    monkeypatch.setattr(
        type(rows.inputs), "row", lambda *a, **k: decoded.append(1) or plain(*a, **k)
    )
    for epoch in range(4):
        rows.state(np.arange(8), epoch)
    assert len(decoded) == 16


def test_epochs_see_other_views_and_the_same_ones_again(pictures, sources):
    rows = DecodedRows(pictures, resolve(sources[Modality.IMAGE]).preprocess, views=2)
    first, second, third = (rows.state(np.arange(4), epoch)[0] for epoch in range(3))
    assert not torch.equal(first, second)
    assert torch.equal(first, third)


def test_a_picture_in_memory_is_read_as_one_on_disk(tmp_path, pictures, sources):
    Image.fromarray(pictures.rows[0]).save(tmp_path / "a.png")
    preprocess = resolve(sources[Modality.IMAGE]).preprocess
    on_disk = Dataset(Modality.IMAGE, (tmp_path / "a.png",))
    states = [DecodedRows(d, preprocess).state(np.arange(1), 0)[0] for d in (pictures, on_disk)]
    assert torch.equal(*states)


def test_activations_that_are_too_many_name_what_every_verb_has_first():
    """`prove` has no `--cache-max`."""
    with pytest.raises(UsageError, match=r"--finetune last:1(?s:.*)`headstart fit --cache-max`"):
        Phase(cache_gb=1.0).capped(2_000_000_000)
