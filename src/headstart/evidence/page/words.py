"""Words: numbers as people say them, and what every term of the page means."""

import math

from headstart.metrics.interval import Interval

#: Scores that are shares, so that a difference of 0.01 is one point of a hundred.
SHARES = frozenset(
    {"accuracy", "balanced_accuracy", "macro_f1", "mean_average_precision", "entity_f1"}
)

#: What a score is called, and what it says.
SCORES = {
    "accuracy": ("accuracy", "The share of test rows that the model gets right."),
    "balanced_accuracy": (
        "balanced accuracy",
        "The share of rows that are right, found for each class and then averaged, so that a rare "
        "class counts as much as a common one.",
    ),
    "macro_f1": (
        "macro-F1",
        "For each class, F1 is high only if the model finds most of its rows and is mostly right "
        "when it names it; macro-F1 is the mean over classes, so that a rare class counts as much "
        "as a common one. It is used here because the classes are of very different size, or "
        "because a row may have several labels.",
    ),
    "mean_average_precision": (
        "mean average precision",
        "For each label, rows are sorted by how sure the model is; the score is 1 if all rows with "
        "the label come first.",
    ),
    "entity_f1": (
        "entity F1",
        "An entity counts as found only if its whole extent and its kind are right.",
    ),
    "r2": (
        "R²",
        "1 if every number is predicted exactly, 0 if the model is no better than always saying "
        "the mean, below 0 if it is worse.",
    ),
    "mae": ("mean error", "By how much a prediction misses on average, in the target's unit."),
    "log_loss": (
        "log-loss",
        "How surprised the model is by the truth; smaller is better. It sees confidence, not only "
        "which class is first.",
    ),
}

#: What an arm is, for people.
ARMS = {
    "majority": "always says the most common answer",
    "classical": "word counts or pixels, and logistic regression",
    "random-probe": "a network with random weights, frozen, and a new head",
    "scratch": "a network trained from random weights on these rows alone",
    "probe": "the pretrained network, frozen, and a new head",
    "finetuned": "the pretrained network, its upper part trained on a little, and a new head",
}

#: The five gains: name, the question it answers, and how it is measured.
GAINS = {
    "jumpstart": (
        "Jumpstart",
        "How much better is the start?",
        "A frozen pretrained network with a new head, against the same network with random "
        "weights and a new head (where the source can only be used frozen, against the smallest "
        "network that can be trained); both heads are trained to the end. What is "
        "left is what the pretrained weights know about these rows before they see any of them.",
    ),
    "slope": (
        "Slope",
        "Does it improve faster?",
        "By how much the score rises each time the number of rows processed doubles, fitted by "
        "least squares up to the point where the first of the two has 90 % of its final score; "
        "transfer minus scratch. A head that is solved in one go has no slope; then it is that of "
        "the fine-tuned arm. Who starts high has less left to climb, so a negative "
        "slope with a large jumpstart is no fault.",
    ),
    "asymptote": (
        "Asymptote",
        "Does it end higher?",
        "The score where validation stops improving; transfer minus scratch. If scratch was "
        "stopped before that and transfer was not, this gain is an upper bound and says “at "
        "most”. Scratch is the same network; where that can only be used frozen, the smallest that "
        "can be trained.",
    ),
    "time_to_threshold": (
        "Time to a good score",
        "How much sooner is it good enough?",
        "The time until a score fixed beforehand: the target that was asked for, or 95 % of where "
        "scratch ends. It is the time of the passes up to there, and of all else that the fit "
        "does. “Warm” leaves out preparing the network and its features, which "
        "happens once; “cold” counts it, as far as it was not kept from before.",
    ),
    "labels_saved": (
        "Labels saved",
        "How many labels fewer are needed?",
        "On the data curve: how many labeled rows transfer needs to be as good as scratch is with "
        "all of them, and how many scratch would need to be as good as transfer. Labeled rows of "
        "another domain, which some transfer arms learn from, too, are not counted.",
    ),
}

#: Other terms of the page.
TERMS = {
    "95 % interval": (
        "If the study were repeated with new seeds and new test rows of the same kind, intervals "
        "made this way would hold the true gain 95 times of 100. Rows and seeds are crossed: every "
        "seed answers the same test rows, and the interval counts the chance in both. Those of "
        "slope, time and labels saved count that in seeds alone, and take these rows as given."
    ),
    "Arm": (
        "One way of making a model, trained by the study itself on the training rows only. "
        "Transfer arms start from pretrained weights; control arms do not."
    ),
    "Seed": (
        "The number that chance is drawn from. Each seed draws another split of training and "
        "validation rows and other random weights, the same for all arms, so that their scores are "
        "compared in pairs. The test rows never change."
    ),
    "Training, validation and test rows": (
        "Training rows are learned from. Validation rows choose: when to stop, which arm is best, "
        "what ships. Test rows are looked at once, at the end, to say how large the gain is; "
        "whoever chooses by them fools himself."
    ),
    "Positive, negative, undecided": (
        "Positive: the whole interval of the gain lies above the gain that was called worth it "
        "(zero, if nothing was said). Negative: it lies wholly below minus that gain. Undecided: "
        "the study cannot tell; a larger one might."
    ),
    "Frozen": (
        "The weights of a frozen stage do not change, nor do its running statistics, and it "
        "computes in training exactly what it computes in use. Both are checked after training."
    ),
    "Converged": (
        "Validation had not improved for as many passes as the rule asks. An arm that was stopped "
        "earlier, by a cap or by the budget, might have become better."
    ),
}


def share(value: float) -> str:
    """Say a share of all.

    >>> share(0.881), share(1.0), share(float("nan"))
    ('88.1 %', '100.0 %', '—')
    """
    return f"{100 * value:.1f} %" if math.isfinite(value) else "—"


def score(value: float | None, metric: str) -> str:
    """Say a score as its kind is said.

    >>> score(0.5, "accuracy"), score(-0.25, "r2"), score(None, "r2")
    ('50.0 %', '−0.250', '—')
    """
    if value is None or not math.isfinite(value):
        return "—"
    return share(value) if metric in SHARES else minus(f"{value:.3f}")


def difference(value: float, metric: str) -> str:
    """Say a difference of two scores.

    >>> difference(0.184, "accuracy"), difference(-0.02, "r2"), difference(0.01, "accuracy")
    ('+18.4 points', '−0.020', '+1.0 points')
    """
    if not math.isfinite(value):
        return "—"
    return minus(f"{100 * value:+.1f} points" if metric in SHARES else f"{value:+.3f}")


def bounds(interval: Interval, metric: str) -> str:
    """Say where a difference lies.

    >>> bounds(Interval(-0.01, 0.02, 0.05), "accuracy")
    'between −1.0 and +5.0'
    """
    low, high = (
        difference(v, metric).removesuffix(" points") for v in (interval.low, interval.high)
    )
    return f"between {low} and {high}"


def minus(text: str) -> str:
    """Write a true minus sign."""
    return text.replace("-", "−")


def duration(seconds: float | None) -> str:
    """Say a duration as people do.

    >>> duration(0.42), duration(42.2), duration(150), duration(7300), duration(None)
    ('0.4 s', '42 s', '2.5 min', '2.0 h', '—')
    """
    if seconds is None or not math.isfinite(seconds):
        return "—"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(n: float) -> str:
    """Say how many.

    >>> count(12000.4)
    '12,000'
    """
    return f"{n:,.0f}"


def shorten(text: str, at_most: int) -> str:
    """Cut a text that is too long.

    >>> shorten("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= at_most else text[: at_most - 1] + "…"


def place(name: str) -> str:
    """Shorten the name of a row: of a path, what a reader of another machine can use.

    >>> place("/home/ann/pets/cats/7.jpg"), place("reviews.csv:12")
    ('cats/7.jpg', 'reviews.csv:12')
    """
    return shorten("/".join(name.replace("\\", "/").split("/")[-2:]), 120)
