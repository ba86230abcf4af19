"""Fits end to end on toy sources: several labels, numbers, the choice, what is planned."""

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.data.dataset import Dataset
from headstart.errors import DataError, UsageError
from headstart.heads.linear import LinearHead
from headstart.sources.catalog import resolve
from headstart.task import Kind, Modality, Task
from headstart.transfer.choose import Candidate, prefer
from tests.toys import toy_picture_source, toy_text_source


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return toy_text_source(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> str:
    return toy_picture_source(tmp_path_factory.mktemp("network"))


def test_several_labels_a_row(tmp_path, encoder):
    table = tmp_path / "posts.csv"
    kinds = [("good", "a"), ("bad", "b"), ("good bad", "a;b"), ("thing", "")]
    table.write_text("text,tags\n" + "".join(f"{t} {i},{k}\n" for i in range(15) for t, k in kinds))
    data = hs.read(table, separator=";")
    model = hs.Transfer(encoder, finetune="no").fit(data)
    assert data.task.kind is Kind.MULTILABEL
    assert model.bundle_.head.thresholds.shape == (2,)
    assert model.scores_["out_of_fold"]["macro_f1"] > 0.8
    assert model.predict(["good 1", "bad 1"]).shape == (2, 2)


def test_a_number(encoder):
    texts = [("good " * (i % 4) + "thing").strip() for i in range(40)]
    model = hs.TransferRegressor(encoder, finetune="no").fit(
        texts, [float(i % 4) for i in range(40)]
    )
    assert model.scores_["out_of_fold"]["r2"] > 0.5
    assert model.predict(["good good thing"]).shape == (1,)


def test_fit_on_lists_and_predict_on_lists(encoder):
    texts = ["good fine"] * 10 + ["bad poor"] * 10
    model = hs.Transfer(encoder, finetune="no").fit(texts, ["up"] * 10 + ["down"] * 10)
    assert model.predict(["good fine", "bad poor"]).tolist() == ["up", "down"]
    assert model.predict_proba(["good fine"]).sum() == pytest.approx(1, abs=1e-6)


def test_unreadable_rows_are_named_and_left_out_up_to_the_limit(tmp_path, network):
    rows, labels = [], []
    for i in range(20):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((40, 40, 3), 10 * i, dtype=np.uint8)).save(path)
        rows.append(path)
        labels.append("dark" if i < 10 else "light")
    rows[3].write_bytes(rows[3].read_bytes()[:60])
    with pytest.raises(DataError, match=r"1 of .*20.*\n.*3\.png"):
        hs.Transfer(network, finetune="no").fit(rows, labels)
    model = hs.Transfer(network, finetune="no", max_skipped=0.1).fit(rows, labels)
    assert [skipped["row"] for skipped in model.bundle_.facts["skipped"]] == [str(rows[3])]


def test_auto_leaves_step_5_alone_where_rows_cannot_tell(encoder):
    texts = ["good fine"] * 10 + ["bad poor"] * 10
    model = hs.Transfer(encoder).fit(texts, ["up"] * 10 + ["down"] * 10)
    assert "cannot tell" in model.plan_.finetune
    assert model.plan_.phase is None


def test_auto_tries_step_5_and_says_what_came_of_it(encoder):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(100)]
    model = hs.Transfer(encoder, phase=hs.Phase(epochs=1)).fit(
        texts, [str(i % 2) for i in range(100)]
    )
    assert model.plan_.holds_out and model.plan_.n_rows["to validate on"] == 20
    assert "finetuned − probe" in model.plan_.outcome


def test_a_source_for_texts_refuses_pictures(network):
    with pytest.raises(UsageError, match="reads image rows"):
        hs.Transfer(network).fit(["good", "bad"], ["a", "b"])


def test_an_array_of_numbers_refuses_a_picture_source(network):
    with pytest.raises(UsageError, match="cannot read rows of numbers"):
        hs.Transfer(network).fit(np.eye(4), [0, 1, 0, 1])


def candidate(name: str, right: list[int]) -> Candidate:
    head = LinearHead(np.zeros((2, 1)), np.zeros(2), Kind.MULTICLASS)
    outputs = np.array([[0.1, 0.9] if r else [0.9, 0.1] for r in right], dtype=np.float32)
    return Candidate(name, resolve("identity:"), head, outputs)


@pytest.mark.parametrize(
    ("simple", "other", "kept"),
    [
        ([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 0], "finetuned"),  # +.5 ± .19
        ([1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1], "probe"),  # +.125 ± .125: not over
        ([1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0], "probe"),
    ],
)
def test_the_simpler_arm_is_kept_within_one_standard_error(simple, other, kept):
    task = Task(Kind.MULTICLASS, ("no", "yes"))
    choice = prefer(
        candidate("probe", simple), candidate("finetuned", other), task, np.ones(8, int)
    )
    assert choice.kept.name == kept


def test_the_dataset_is_never_changed(encoder):
    data = Dataset(Modality.TEXT, ("good",) * 20 + ("bad",) * 20,
                   Task(Kind.MULTICLASS, ("a", "b")), np.repeat([0, 1], 20))  # fmt: skip
    before = data.targets.copy()
    hs.Transfer(encoder, finetune="no").fit(data)
    assert data.split is None and (data.targets == before).all()
