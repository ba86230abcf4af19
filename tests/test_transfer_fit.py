"""Fits end to end on toy sources: several labels, numbers, the choice, what is planned."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.data.also import ALSO, TARGET
from headstart.data.dataset import Dataset, from_arrays
from headstart.data.ragged import ragged
from headstart.errors import DataError, Diverged, ResourceError, UsageError
from headstart.heads.linear import LinearHead
from headstart.metrics.scores import best_cuts
from headstart.sources.catalog import resolve
from headstart.task import Kind, Modality, Task
from headstart.transfer.choose import Candidate, prefer, unless_worse
from headstart.transfer.fitting import UNWEIGHED
from headstart.transfer.plan import intend
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
    assert any("thresholds of the labels" in note for note in model.plan_.notes)
    assert model.predict(["good 1", "bad 1"]).shape == (2, 2)


def test_a_number(encoder):
    texts = ["good " * (i % 4) + f"thing {i}" for i in range(40)]
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


def test_auto_leaves_step_5_alone_where_rows_cannot_tell(network):
    pixels, labels = colors(20)
    model = hs.Transfer(network).fit(pixels, labels)
    assert "cannot tell" in model.plan_.finetune
    assert model.plan_.phase is None


def test_auto_tries_step_5_and_says_what_came_of_it(encoder):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(100)]
    model = hs.Transfer(encoder, phase=hs.Phase(epochs=1)).fit(
        texts, [str(i % 2) for i in range(100)]
    )
    assert model.plan_.holds_out and model.plan_.n_rows["to validate on"] == 20
    assert "finetuned − probe" in model.plan_.outcome


def test_a_network_that_was_asked_for_ships_and_the_plan_says_so(encoder):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(40)]
    options = {"finetune": "only:last:1", "phase": hs.Phase(epochs=1, rate=1e-8)}
    model = hs.Transfer(encoder, **options).fit(texts, [str(i % 2) for i in range(40)])
    assert model.bundle_.facts["arm"] == "finetuned"
    assert model.plan_.outcome.startswith("finetuned, as asked: finetuned − probe = ")


def test_validation_rows_calibrate_a_moved_network_by_what_they_count(encoder, monkeypatch):
    given = []
    monkeypatch.setattr(
        "headstart.transfer.fitting.calibrated", lambda *args: given.append(args) or args[0]
    )
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(40)]
    data = from_arrays(texts, [str(i % 2) for i in range(40)])
    data = replace(data, weight=np.linspace(0, 2, 40))
    data = data.with_split(["train"] * 30 + ["validation"] * 10)
    hs.Transfer(encoder, finetune="only:last:1", phase=hs.Phase(epochs=1)).fit(data)
    assert given[0][3].tolist() == data.weight[30:].tolist()


def turned(data, *parts):
    """Return the data with the other class on every row of some parts."""
    return replace(data, targets=np.where(np.isin(data.split, parts), 1 - data.targets,
                                          data.targets))  # fmt: skip


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_rows_that_are_held_out_teach_nothing(head):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4))
    split = np.repeat(["train", "validation", "test"], 40)
    data = from_arrays(x, np.where(x[:, 0] + rng.normal(size=120) > 0, "a", "b")).with_split(split)
    alone = data.take(split == "train")
    heads = [hs.Transfer(head=head).fit(one).bundle_.head for one in
             (data, turned(data, "validation", "test"), replace(alone, split=None))]  # fmt: skip
    said = [one.outputs(x).tobytes() for one in heads]
    assert said[0] == said[1] == said[2]


def test_a_probe_that_learns_from_held_out_rows_too_learns_nothing_from_test_rows(encoder):
    rng = np.random.default_rng(0)
    texts = [f"{'good' if i % 2 else 'bad'} {rng.choice(['red', 'blue', 'film'])} {i}"
             for i in range(60)]  # fmt: skip
    parts = ["train"] * 40 + ["test"] * 20
    data = from_arrays(texts, [str(i % 2) for i in range(60)]).with_split(parts)
    options = {"finetune": "last:1", "phase": hs.Phase(epochs=1, rate=1e-8, head_rate=1e-8)}
    made = [hs.Transfer(encoder, **options).fit(one) for one in (data, turned(data, "test"))]
    assert all(one.plan_.outcome.startswith("probe") and one.plan_.holds_out for one in made)
    assert made[0].predict_proba(texts).tobytes() == made[1].predict_proba(texts).tobytes()


@pytest.mark.parametrize("names_rows", [False, True])
def test_scores_are_of_what_ships(encoder, names_rows):
    """Once the probe has learned from the rows that were held out, they judge it out of fold."""
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(40)]
    data = from_arrays(texts, [str(i % 2) for i in range(40)])
    if names_rows:
        data = data.with_split(["train"] * 30 + ["validation"] * 10)
    options = {"finetune": "last:1", "phase": hs.Phase(epochs=1, rate=1e-8, head_rate=1e-8)}
    model = hs.Transfer(encoder, **options).fit(data)
    assert model.plan_.outcome.startswith("probe, the simpler")
    assert set(model.scores_) == {"out_of_fold"} | ({"validation"} if names_rows else set())


@pytest.mark.parametrize("error", [
    Diverged("The loss at step 3 is not finite.\nLook."),
    ResourceError("No space left to write it.\nFree some."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
])  # fmt: skip
@pytest.mark.parametrize(("n", "door"), [(300, "finetune.finetune"), (100, "few.finetune_few")])
def test_a_step_5_that_nobody_asked_for_may_break(encoder, monkeypatch, error, n, door):
    def breaks(*_, **__):
        raise error

    monkeypatch.setattr(f"headstart.steps.{door}", breaks)
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(n)]
    labels = [str(i % 2) for i in range(n)]
    model = hs.Transfer(encoder).fit(texts, labels)
    said = str(error).splitlines()[0]
    assert model.plan_.outcome == f"probe: step 5 came to nothing: {said}"
    assert model.score(texts, labels) > 0.9
    assert "out_of_fold" in model.scores_
    with pytest.raises(type(error), match=said[:20]):
        hs.Transfer(encoder, finetune="few" if n == 100 else "last:25%").fit(texts, labels)


def test_a_fault_in_step_5_is_not_hidden(encoder, monkeypatch):
    def breaks(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("headstart.steps.finetune.finetune", breaks)
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(300)]
    with pytest.raises(RuntimeError, match="shapes"):
        hs.Transfer(encoder).fit(texts, [str(i % 2) for i in range(300)])


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
        ([1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1], "probe"),  # +.25 ± .16: may be luck
        ([1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1], "probe"),
        ([1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0], "probe"),
    ],
)
def test_the_simpler_arm_is_kept_unless_the_other_is_surely_better(simple, other, kept):
    task = Task(Kind.MULTICLASS, ("no", "yes"))
    choice = prefer(
        candidate("probe", simple), candidate("finetuned", other), task, np.ones(8, int)
    )
    assert choice.kept.name == kept


@pytest.mark.parametrize(
    ("n_taught", "kept"), [(None, "finetuned"), (8, "probe"), (800, "finetuned")]
)
def test_what_the_rows_held_out_would_teach_counts_for_the_simpler_arm(n_taught, kept):
    """+.5 is .04 more than is needed; what 8 rows learn from 8 more is worth .1."""
    task, arms = Task(Kind.MULTICLASS, ("no", "yes")), ([1] * 3 + [0] * 5, [1] * 7 + [0])
    simple, other = map(candidate, ("probe", "finetuned"), arms)
    choice = prefer(simple, other, task, np.ones(8, int), n_taught=n_taught)
    assert choice.kept.name == kept
    needed = {None: "+0.464", 8: "+0.563", 800: "+0.465"}[n_taught]
    assert choice.why.endswith(f" = +0.500 ± 0.189 on 8 rows held out, {needed} needed")


@pytest.mark.parametrize("kind", [Kind.REGRESSION, Kind.MULTILABEL])
def test_how_error_falls_is_said_of_classes_alone(kind):
    """Of numbers most of what is missing to R² of 1 is noise that no row teaches away."""
    task, truth = Task(kind, ("a",) * (kind is Kind.MULTILABEL)), np.array([0.0, 1.0] * 20)
    outputs = np.full((40, 1), 0.4), truth[:, None]
    targets = truth[:, None].astype(int) if kind is Kind.MULTILABEL else truth
    head = candidate("probe", [1]).head
    arms = [
        Candidate(name, resolve("identity:"), head, said.astype(np.float32))
        for name, said in zip(("probe", "finetuned"), outputs, strict=True)
    ]
    why = {prefer(*arms, task, targets, n_taught=n).why for n in (1, 100, None)}
    assert len(why) == 1 and why.pop().startswith("finetuned: finetuned − probe = +")


@pytest.mark.parametrize("said", ["nothing", "validation", "beside"])
def test_own_rows_that_teach_are_told_where_those_held_out_would_teach_too(
    encoder, monkeypatch, said
):
    counted = []
    monkeypatch.setattr(
        "headstart.transfer.fitting.prefer",
        lambda *arms, **how: counted.append(how["n_taught"]) or prefer(*arms, **how),
    )
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(52)]
    data = from_arrays(texts, [str(i % 2) for i in range(52)])
    if said == "validation":
        data = data.with_split(["train"] * 40 + ["validation"] * 12)
    if said == "beside":
        data = replace(data, domain=np.array([TARGET] * 40 + [ALSO] * 12))
    options = {"finetune": "last:1", "phase": hs.Phase(epochs=1, rate=1e-8)}
    plan = hs.Transfer(encoder, **options).fit(data).plan_
    n_own = {"nothing": 52, "beside": 40, "validation": None}[said]
    assert counted == [n_own and n_own - plan.n_rows["to validate on"]]


def test_of_tags_one_standard_error_is_enough():
    """An entity a sentence, two of eight missed by one: +.143 ± .107, which texts do not keep."""
    says = {1: np.array([[0.1, 0.8, 0.1]]), 0: np.array([[0.8, 0.1, 0.1]])}
    head = candidate("probe", [1]).head
    simple, other = (
        Candidate(name, resolve("identity:"), head, ragged([says[r] for r in right]))
        for name, right in (("probe", [1] * 6 + [0] * 2), ("finetuned", [1] * 8))
    )
    task, truth = Task(Kind.TAGS, ("O", "B-X", "I-X")), ragged([np.array([1])] * 8)
    choice = prefer(simple, other, task, truth, n_taught=8)
    assert choice.why == "finetuned: finetuned − probe = +0.143 ± 0.107 on 8 rows held out"


@pytest.mark.parametrize("n", [30, 50, 64, 92, 100, 128, 173, 200])
def test_one_row_more_decides_alike_whatever_the_number_of_rows(n):
    """A gain of 1/n has a standard error of 1/n; which one is larger is but rounding."""
    task, some = Task(Kind.MULTICLASS, ("no", "yes")), [1, 0] * (n // 2 - 1)
    worse, better = [*some, 1, 0], [*some, 1, 1]
    arms = candidate("probe", better), candidate("finetuned", worse)
    assert unless_worse(*arms, task, np.ones(len(worse), int)).kept.name == "finetuned"


def test_the_training_rows_say_by_which_score_the_arms_are_compared():
    """Four to one among the validation rows; under three to one among all, so that rows count."""
    task, truth = Task(Kind.MULTICLASS, ("no", "yes")), np.array([1] * 64 + [0] * 16)
    outputs = {"probe": [1] * 80, "finetuned": [1] * 40 + [0] * 40}
    arms = [
        Candidate(name, resolve("identity:"), candidate(name, [1]).head,
                  np.eye(2, dtype=np.float32)[said])
        for name, said in outputs.items()
    ]  # fmt: skip
    assert prefer(*arms, task, truth).kept.name == "finetuned"  # balanced: .81 against .5
    among = np.array([1] * 264 + [0] * 96)
    assert prefer(*arms, task, truth, among).kept.name == "probe"  # .7 against .8


@pytest.mark.parametrize(
    ("simple", "other", "kept"),
    [
        ([1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 0, 0], "finetuned"),  # −.125 ± .125: not over
        ([1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0, 0], "probe"),  # −.375 ± .18
    ],
)
def test_what_is_trusted_is_kept_within_one_standard_error(simple, other, kept):
    task = Task(Kind.MULTICLASS, ("no", "yes"))
    arms = candidate("probe", simple), candidate("finetuned", other)
    assert unless_worse(*arms, task, np.ones(8, int)).kept.name == kept


def test_cuts_found_on_the_judged_rows_do_not_win_by_that():
    """Two arms of one quality, several labels: one's cuts come from these rows, one's from more."""
    rng, n, k, won = np.random.default_rng(0), 100, 20, 0
    task = Task(Kind.MULTILABEL, tuple("abcdefghijklmnopqrst"))

    def rows(n):
        truth = rng.binomial(1, 0.1, (n, k))
        return truth, [1 / (1 + np.exp(-rng.normal(2 * truth - 3))) for _ in range(2)]

    for _ in range(60):
        (truth, said), (elsewhere, there) = rows(n), rows(4 * n)
        cuts = best_cuts(elsewhere, there[0]), best_cuts(truth, said[1])
        arms = [
            Candidate(name, resolve("identity:"), LinearHead(
                np.zeros((k, 1)), np.zeros(k), Kind.MULTILABEL, thresholds=cut), outputs)
            for name, cut, outputs in zip(("probe", "finetuned"), cuts, said, strict=True)
        ]  # fmt: skip
        won += prefer(*arms, task, truth).kept.name == "finetuned"
    assert won <= 10  # by chance one of twenty; with its own cuts it was four of five


def test_the_dataset_is_never_changed(encoder):
    data = Dataset(Modality.TEXT, ("good",) * 20 + ("bad",) * 20,
                   Task(Kind.MULTICLASS, ("a", "b")), np.repeat([0, 1], 20))  # fmt: skip
    before = data.targets.copy()
    hs.Transfer(encoder, finetune="no").fit(data)
    assert data.split is None and (data.targets == before).all()


def colors(n: int, classes: int = 2, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return pictures whose brightness tells the class, and the classes as whole numbers."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    step = 200 // classes
    return [
        rng.integers(0, 40, size=(36, 36, 3), dtype=np.uint8) + np.uint8(step * c) for c in y
    ], y


def test_whole_numbers_are_classes_for_the_classifier_and_keep_their_type(network):
    rows, y = colors(90, classes=30)
    model = hs.Transfer(network, finetune="no").fit(rows, y + 100)
    assert model.classes_.tolist() == list(range(100, 130))
    assert model.predict(rows).dtype == y.dtype
    assert 0 <= model.score(rows, y + 100) <= 1


def test_equal_rows_never_stand_on_both_sides_of_the_held_out_split(network):
    rows, y = colors(40)
    twice = [row for row in rows for _ in range(2)]
    plan, parted = intend(
        resolve(network),
        from_arrays(twice, np.repeat(y, 2).astype(str)),
        "linear",
        "last:1",
        None,
        0,
    )
    sides = parted.split.reshape(-1, 2)
    assert plan.holds_out and (sides[:, 0] == sides[:, 1]).all()
    assert (parted.split == "validation").any()


def test_what_the_reader_left_out_is_named_in_the_result(tmp_path, encoder):
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "good fine,up\nbad poor,down\n" * 10 + "nothing,\n")
    data = hs.read(table, max_skipped=0.1)
    model = hs.Transfer(encoder, finetune="no", max_skipped=0.1).fit(data)
    assert [skipped["row"] for skipped in model.bundle_.facts["skipped"]] == [data.skipped[0].row]


def test_rows_that_the_reader_left_out_are_a_share_of_all_it_read(tmp_path, encoder):
    table = tmp_path / "t.csv"
    lines = ["good fine,up,train", "bad poor,down,train"] * 10 + ["good,up,test"] * 79
    table.write_text("\n".join(["text,label,split", *lines, "nothing,,test"]) + "\n")
    data = hs.read(table)  # one of a hundred
    model = hs.Transfer(encoder, finetune="no").fit(data.training())  # of twenty
    assert [skipped["row"] for skipped in model.bundle_.facts["skipped"]] == [data.skipped[0].row]


def test_folds_of_the_probe_do_not_speak_for_a_network_that_moved(network):
    rows, y = colors(60)
    model = hs.Transfer(f"scratch:{network}", phase=hs.Phase(epochs=2)).fit(rows, y)
    assert set(model.scores_) == {"validation"}
    assert any("optimistic" in note for note in model.plan_.notes)


def test_an_mlp_is_calibrated(encoder):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(60)]
    model = hs.Transfer(encoder, head="mlp", finetune="no").fit(
        texts, [str(i % 2) for i in range(60)]
    )
    assert model.bundle_.head.temperature != 1.0


@pytest.mark.parametrize("source", ["auto", "scratch:pkg:efficientnet-lite0"])
@pytest.mark.parametrize("finetune", [
    "nonsense", "last:half", "last:0.5", "last:2.7", "last:0", "last:", "stage:", "only:auto", ""
])  # fmt: skip
def test_what_step_5_is_not_asked_is_told_of_any_rows(source, finetune):
    with pytest.raises(UsageError, match=rf"finetune='{finetune}' says nothing(.|\n)*last:25%"):
        hs.Transfer(source, finetune=finetune).fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("finetune", ["no", "head", "last:2.5%", "only:last:3", "stage:4", "all"])
def test_rows_of_numbers_have_no_step_5_and_the_plan_says_so(finetune):
    model = hs.Transfer(finetune=finetune).fit(np.eye(4), [0, 1, 0, 1])
    assert model.plan_.finetune.startswith("no: ") and model.plan_.phase is None


def test_an_unknown_head_is_told_before_any_work(encoder, monkeypatch):
    monkeypatch.setattr("headstart.transfer.fitting.extract_beside", None)
    with pytest.raises(UsageError, match="linear"):
        hs.Transfer(encoder, head="lineer").fit(["a b", "c d"] * 10, ["x", "y"] * 10)


@pytest.mark.parametrize(
    ("head", "rows", "labels", "said"),
    [
        ("tags", ["a b", "c d"] * 10, ["x", "y"] * 10, "is not known here"),
        ("mlp", [["a", "b"]] * 10, [["O", "B-X"]] * 10, "does not tag words"),
    ],
)
def test_a_head_of_another_task_is_refused_before_anything_runs(
    encoder, monkeypatch, head, rows, labels, said
):
    monkeypatch.setattr(
        "headstart.transfer.fitting.extract_beside", lambda *_: pytest.fail("extracted")
    )
    with pytest.raises(UsageError, match=said):
        hs.Transfer(encoder, head=head, finetune="no").fit(hs.read((rows, labels)))


@pytest.mark.parametrize("also", ["some", None, ["no"]])
def test_what_is_made_of_another_domain_is_told_in_known_words(encoder, also):
    with pytest.raises(UsageError, match=r"also=.*expected one of weighed, no, only, all"):
        hs.Transfer(encoder, also=also).fit(["a b", "c d"] * 10, ["x", "y"] * 10)


def test_step_5_without_rows_to_hold_out_says_how_many_it_needs(encoder):
    texts, labels = [f"thing {i}" for i in range(5)], list("abcde")
    with pytest.raises(UsageError, match="held out"):
        hs.Transfer(encoder, finetune="last:1").fit(texts, labels)


def test_a_checkpoint_of_other_rows_is_not_resumed_from(network, tmp_path):
    rows, y = colors(24)
    options = {"phase": hs.Phase(epochs=2, views=0, batch=8), "run": tmp_path / "run"}
    scratch = f"scratch:{network}"
    hs.Transfer(scratch, **options).fit(rows, y)
    others = rows[:12] + colors(24, seed=9)[0][12:]
    again = hs.Transfer(scratch, **options).fit(others, y)
    fresh = hs.Transfer(scratch, phase=options["phase"]).fit(others, y)
    assert again.bundle_.source.weights_sha256 == fresh.bundle_.source.weights_sha256
    assert len(list((tmp_path / "run").rglob("descent*"))) <= 2  # the first run's are forgotten


def test_a_fit_that_goes_on_decides_as_it_did_whatever_the_stopwatch_says(
    encoder, tmp_path, monkeypatch
):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(80)]
    data = from_arrays(texts, [str(i % 2) for i in range(80)])
    options = {"phase": hs.Phase(epochs=1), "run": tmp_path / "run"}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("headstart.transfer.fitting.prefer", interrupted)
        hs.Transfer(encoder, **options).fit(data)
    monkeypatch.setattr("headstart.steps.finetune.seconds_a_step", lambda *_: 1e6)  # very busy
    again = hs.Transfer(encoder, **options).fit(data)
    assert "finetuned − probe" in again.plan_.outcome
    other = hs.Transfer(encoder, **options).fit(data)  # that one is done: it is timed anew
    assert other.plan_.phase is None and "asks for it" in other.plan_.finetune


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("named", [False, True])
def test_rows_that_count_nothing_do_not_judge_step_5(encoder, named):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(80)]
    data = from_arrays(texts, [str(i % 2) for i in range(80)])
    data = replace(data, weight=np.repeat([1.0, 0.0], [50, 30]))
    if named:
        data = data.with_split((["train"] * 4 + ["validation"]) * 16)
    _, parted = intend(resolve(encoder), data, "linear", "last:1", hs.Phase(epochs=1), 0)
    held_out = parted.split == "validation"
    assert held_out.sum() == 10 and not held_out[50:].any()
    plan, _ = intend(resolve(encoder), data, "linear", "auto", hs.Phase(epochs=1), 0)
    n = 40 if named else 50
    assert plan.finetune == f"no: {n} rows cannot tell whether it pays"


def test_a_split_with_test_rows_that_count_nothing_keeps_them(encoder):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(80)]
    data = from_arrays(texts, [str(i % 2) for i in range(80)])
    data = replace(data, weight=np.repeat([1.0, 0.0], [60, 20]))
    data = data.with_split(["train"] * 60 + ["test"] * 20)
    _, parted = intend(resolve(encoder), data, "linear", "last:1", hs.Phase(epochs=1), 0)
    assert (parted.split[60:] == "test").all() and (parted.split == "validation").sum() == 12


def test_from_random_weights_rows_beside_are_said_to_count_the_same(network):
    rows, y = colors(24)
    data = replace(from_arrays(rows, y.astype(str)), domain=np.array([TARGET] * 20 + [ALSO] * 4))
    phase = hs.Phase(epochs=1, views=0, batch=8)
    notes = [
        hs.Transfer(f"scratch:{network}", phase=phase, also=also).fit(data).plan_.notes
        for also in ("weighed", "all")
    ]
    assert UNWEIGHED in notes[0] and UNWEIGHED not in notes[1]


def test_the_curve_is_of_the_head_that_ships(encoder):
    texts = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(80)]
    options = {"head": "mlp", "finetune": "last:1", "phase": hs.Phase(epochs=1, rate=1e-8)}
    model = hs.Transfer(encoder, **options).fit(texts, [str(i % 2) for i in range(80)])
    assert model.bundle_.facts["arm"] == "probe"
    assert len(model.curve_) > 1  # the head's passes, not the one of step 5


def test_numbers_are_not_classes(encoder):
    data = Dataset(Modality.TEXT, ("good", "bad") * 5,
                   Task(Kind.MULTICLASS, ("a", "b")), np.arange(10) % 2)  # fmt: skip
    with pytest.raises(UsageError, match="predicts numbers"):
        hs.TransferRegressor(encoder).fit(data)
