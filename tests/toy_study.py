"""A study made by hand, with every part that a report can show."""

import math

import numpy as np

from headstart.checks.finding import Finding
from headstart.evidence.evidence import ArmRecord, Evidence, Gain, Judged, Outcome, Point
from headstart.evidence.verdict import Verdict
from headstart.metrics.curve import Curve
from headstart.metrics.interval import Interval
from headstart.task import Kind, Task

LABELS = ("ants", "bees", "cats", "dogs", "elks", "foxes")


def toy_evidence(labels=LABELS, names=None, n_seeds=3, word="positive"):
    """A study whose every number is made by hand, with each part of the page in it."""
    sign = -1 if word == "negative" else 1
    gain = Interval(0.224, 0.262, 0.301) if sign > 0 else Interval(-0.301, -0.262, -0.224)
    gain = Interval(-0.02, 0.01, 0.04) if word == "undecided" else gain
    truth = np.arange(60) % len(labels)
    said = np.where(
        (np.arange(60) % 7 == 0) | (np.arange(60) % 12 == 0), (truth + 1) % len(labels), truth
    )
    return Evidence(
        task=Task(Kind.MULTICLASS, tuple(labels), "kind"),
        score="accuracy",
        source={
            "uri": "pkg:efficientnet-lite0",
            "title": "EfficientNet-Lite0",
            "trained_on": "ImageNet-1k",
            "license": "Apache-2.0",
            "n_parameters": 3_372_000,
            "modality": "image",
        },
        n_rows={"train": 600, "validation": 150, "test": 60},
        arms=_arms(n_seeds),
        outcomes=(Outcome("probe", 0, 600, scores={"accuracy": 0.84}),),
        effort=_effort(n_seeds),
        data=_data(),
        gains=_gains(),
        verdict=Verdict(
            word,
            gain,
            transfer="finetuned",
            control="scratch",
            shipped="finetuned" if sign > 0 else "scratch",
            why="finetuned − scratch = +0.262 ± 0.012 on validation",
            n_seeds=n_seeds,
            smallest_gain=0.031,
            is_at_most=sign > 0,
            notes=("The interval of scratch rests on rows that 2 seeds share.",),
        ),
        judged=Judged(
            "finetuned",
            names=names or tuple(f"test/{labels[t]}/{i:03}.jpg" for i, t in enumerate(truth)),
            truth=tuple(truth.tolist()),
            said=tuple(said.tolist()),
            sure=tuple((0.5 + 0.45 * (np.arange(60) % 10) / 10).tolist()),
        ),
        findings=(
            Finding("near-duplicates", "warning", "3 test rows are copies of training rows.", 3,
                    ("test/a.jpg", "test/b.jpg"), ("train/c.jpg", "train/d.jpg"),
                    "They were left out of the verdict."),
            Finding("imbalance", "note", "The classes are of like size: 96 to 104 rows."),
        ),
        remedies=(
            {"remedy": "another model", "what": "pkg:efficientnet-lite2", "gave": 0.012,
             "over_control": 0.004, "n_seeds": 3, "seconds": 12.0,
             "outcome": "beats the best control (+0.004)"},
            {"remedy": "boundary", "what": "all", "gave": None, "over_control": None,
             "n_seeds": 0, "seconds": 0.0, "outcome": "not tried: the time was over"},
        ),
        seeds=n_seeds,
        budget_s=900.0,
        transfer_plan={
            "source": "pkg:efficientnet-lite0",
            "head": "linear",
            "stages": ["stem", *(f"block{i}" for i in range(1, 17)), "conv_head"],
            "boundary": 13,
            "phase": {"epochs": 5},
            "outcome": "finetuned, as asked: finetuned − probe = +0.03 ± 0.01 on 150 rows held out",
            "taken_s": {"extract": 4.0, "train": 1.4, "finetune": 38.0},
        },
        versions={"headstart": "0.1.0", "torch": "2.13.0"},
        seconds=671.0,
        created="2026-11-23T21:10:00+00:00",
    )  # fmt: skip


def _arms(n_seeds):
    rows = (
        ("majority", "control", 0.17, 0.17, 0.01, 0),
        ("classical", "control", 0.44, 0.43, 1.9, 0),
        ("random-probe", "control", 0.46, 0.45, 9.0, 0),
        ("scratch", "control", 0.61, 0.619, 564.0, 2),
        ("probe", "transfer", 0.84, 0.83, 5.4, 0),
        ("finetuned", "transfer", 0.872, 0.881, 43.0, 0),
    )
    seeds = range(n_seeds)
    return tuple(
        ArmRecord(
            name,
            role,
            validation=dict.fromkeys(seeds, validation),
            test=dict.fromkeys(seeds, test),
            interval=Interval(test - 0.03, test, test + 0.03),
            seconds=seconds,
            n_seeds=n_seeds,
            n_not_converged=n,
        )
        for name, role, validation, test, seconds, n in rows
    )


def _effort(n_seeds):
    def curve(start, end, step, n, seed):
        at = range(1, n + 1)
        score = tuple(end - (end - start) * math.exp(-i / 4) + 0.008 * seed for i in at)
        return Curve(tuple(step * i for i in at), score)

    shapes = {
        "scratch": (0.15, 0.60, 600, 40),
        "finetuned": (0.82, 0.87, 600, 8),
        "probe": (0.84, 0.84, 600, 1),
        "random-probe": (0.45, 0.45, 600, 1),
    }
    return {
        arm: tuple(curve(*shape, seed) for seed in range(n_seeds)) for arm, shape in shapes.items()
    }


def _data():
    at = (12, 24, 48, 96, 192, 384, 600)
    scores = {
        "classical": (0.20, 0.23, 0.27, 0.31, 0.36, 0.40, 0.43),
        "scratch": (0.17, 0.18, 0.22, 0.29, 0.41, 0.54, 0.619),
        "probe": (0.41, 0.52, 0.62, 0.70, 0.76, 0.81, 0.83),
        "finetuned": (0.40, 0.53, 0.64, 0.73, 0.80, 0.86, 0.881),
    }
    return {
        arm: tuple(
            Point(n, (s,) * 3, Interval(s - 0.4 / n**0.5, s, s + 0.3 / n**0.5))
            for n, s in zip(at, found, strict=True)
        )
        for arm, found in scores.items()
    }


def _gains():
    return (
        Gain("jumpstart", Interval(0.31, 0.381, 0.452), "accuracy", "pretrained minus random"),
        Gain("slope", Interval(-0.040, -0.021, 0.002), "accuracy per doubling of rows processed",
             "area between the curves +1.204"),
        Gain("asymptote", Interval(0.224, 0.262, 0.301), "accuracy",
             "at most: scratch had not converged"),
        Gain("time to threshold", Interval(410.0, 521.0, 640.0), "s saved",
             "to 0.580 on validation: transfer 5.1 s (11.0 s cold), scratch 526.1 s"),
        Gain("labels saved", Interval(541.0, 558.0, 570.0), "rows",
             "scratch needs > 600 labels to match transfer at 600; transfer needs 42 to match "
             "scratch at 600: 558 saved"),
    )  # fmt: skip
