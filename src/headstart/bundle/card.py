"""The model card: the README of a saved model, for whoever finds its folder."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from headstart.data.tags import types_of
from headstart.task import Kind, Task

if TYPE_CHECKING:
    from headstart.bundle.bundle import Bundle


def model_card(bundle: "Bundle", facts: dict[str, Any]) -> str:
    """Return the model's README: what it is, how good, how to use it."""
    source, task = bundle.source, bundle.task
    scores = bundle.facts.get("scores", {})
    lines = [
        "---",
        f"license: {source.license}",
        "library_name: headstart",
        f"tags: [transfer-learning, {source.modality}, {task.kind}]",
        "---",
        "# A model made by transfer",
        "",
        f"Starts from `{source.uri}`: {source.title or 'a pretrained model'}, trained on "
        f"{source.trained_on}, license {source.license}.",
        "",
        f"Predicts {_predicts(task)}.",
        "",
        "## Scores",
        "",
        *_score_rows(scores),
        "",
        "## Use",
        "",
        "```python",
        "import headstart as hs",
        "",
        'model = hs.load("PATH OF THIS FOLDER")',
        "model.predict([…])  # and model.predict_proba([…])",
        "```",
        "",
        f"Seed {bundle.facts.get('seed')}, {facts['threads']} threads, {facts['created']}, with "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def _predicts(task: Task) -> str:
    if task.kind is Kind.REGRESSION:
        return "a number"
    shown = ", ".join(task.labels[:20]) + (" …" if len(task.labels) > 20 else "")
    if task.kind is Kind.TAGS:
        return f"entities in texts, of {len(types_of(task))} types: {', '.join(types_of(task))}"
    count = "one of" if task.kind is Kind.MULTICLASS else "any of"
    return f"{count} {len(task.labels)}: {shown}"


def _score_rows(scores: dict[str, dict[str, float]]) -> Iterable[str]:
    if not scores:
        return ["None were measured."]
    return [
        f"- {part.replace('_', ' ')}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items())
        for part, found in scores.items()
    ]
