"""77 intents of bank customers: sentences, frozen MiniLM, a linear head; and TF-IDF beside it."""

import csv
from pathlib import Path
from typing import Any

from bench.measure import Row, Study, data_folder, headstart, scratch_folder, seconds_of

SIZES = {"full": {}}
SOURCE = "pkg:all-minilm-l6-v2"


def study(repeats: int) -> Study:
    """Fit on all training rows, cold, with the test rows marked as such."""
    data = data_folder("banking77")
    fits = []
    for repeat in range(repeats):
        with scratch_folder() as folder:
            _write(data, folder / "banking77.csv")
            fits.append(_fit(folder, seed=repeat))
    accuracy, seconds = _tfidf(data)
    return Study(
        f"banking77, {SOURCE}, frozen, full train.",
        (
            Row("accuracy", _tests(fits, "accuracy"), at_least=0.925),
            Row("macro-F1", _tests(fits, "macro_f1")),
            Row("process start to exit", tuple(fit.seconds for fit in fits), "s"),
            Row("TF-IDF with logistic regression, accuracy", (accuracy,)),
            Row("TF-IDF with logistic regression", (seconds,), "s"),
        ),
        facts={"fits": [fit.json for fit in fits]},
    )


def _fit(folder: Path, seed: int) -> Any:
    columns = ("--text", "text", "--label", "category")
    options = ("--source", SOURCE, "--finetune", "no", "--seed", str(seed), "--json")
    return headstart("fit", "banking77.csv", *columns, *options, home=folder / "home", cwd=folder)


def _tests(fits: list[Any], name: str) -> tuple[float, ...]:
    return tuple(float(fit.json["scores"]["test"].get(name, float("nan"))) for fit in fits)


def _rows(data: Path, split: str) -> list[dict[str, str]]:
    with (data / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(data: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("text", "category", "split"))
        writer.writeheader()
        for split in ("train", "test"):
            writer.writerows(row | {"split": split} for row in _rows(data, split))


def _tfidf(data: Path) -> tuple[float, float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = _rows(data, "train"), _rows(data, "test")
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
    texts, labels = [row["text"] for row in train], [row["category"] for row in train]
    seconds = seconds_of(lambda: model.fit(texts, labels))
    right = model.predict([row["text"] for row in test]) == [row["category"] for row in test]
    return float(right.mean()), seconds
