"""Figures: the drawings of a study, each wide for a desk and narrow for a phone."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from headstart.evidence.evidence import Evidence, Point
from headstart.evidence.page import words
from headstart.evidence.page.chart import Axis, Chart, Line
from headstart.evidence.page.network import Network
from headstart.evidence.page.svg import Scale, element, number, picture, polyline
from headstart.metrics.curve import Curve
from headstart.metrics.gains import LabelsSaved, labels_saved
from headstart.metrics.interval import Interval
from headstart.task import Kind, Modality

WIDE, NARROW = 760, 340

#: Says the score of a line at a place across; None where that is unknown.
ScoreAt = Callable[[Line, float], float | None]

#: How arms that are neither the best transfer nor the best control are told apart.
DASHES = ("control second", "control third", "control fourth", "control")

#: What a row is called.
ROWS = {Modality.IMAGE: "picture", Modality.TEXT: "text", Modality.VECTOR: "row"}


def row_word(evidence: Evidence) -> str:
    """Return what a row is called: "picture", "text" or "row"."""
    modality = str(evidence.source.get("modality", ""))
    return ROWS[Modality(modality)] if modality in list(Modality) else "row"


def both(draw: Callable[[int], Markup]) -> dict[str, Markup]:
    """Draw for a desk and for a phone."""
    return {"wide": draw(WIDE), "narrow": draw(NARROW)}


def styles(evidence: Evidence) -> dict[str, str]:
    """Return the CSS class of every arm; only transfer has color."""
    dashes = iter(DASHES * len(evidence.arms))
    found = {}
    for arm in evidence.arms:
        if arm.role == "transfer":
            found[arm.name] = "best" if arm.name == evidence.verdict.transfer else "transfer"
        else:
            is_rival = arm.name == evidence.verdict.control
            found[arm.name] = "rival" if is_rival else next(dashes)
    return found


def mean_curve(name: str, style: str, curves: Iterable[Curve]) -> Line | None:
    """Return the mean over seeds, and from the lowest to the highest as a band.

    A seed that stopped keeps the score of the weights it kept. None without any score.

    >>> two = Curve(seen=(10, 20), score=(0.0, 0.5)), Curve(seen=(10, 20), score=(0.5, 1.0))
    >>> mean_curve("probe", "best", two).y
    (0.25, 0.75)
    """
    clean = [kept for kept in map(_clean, curves) if len(kept)]
    if not clean:
        return None
    places = max((curve.seen for curve in clean), key=len)
    table = np.array(
        [np.interp(places, c.seen, c.score, right=c.asymptote) for c in clean]
    )  # (seeds, points)
    has_band = len(clean) > 1
    return Line(
        name,
        style,
        tuple(map(float, places)),
        tuple(table.mean(axis=0).tolist()),
        tuple(table.min(axis=0).tolist()) if has_band else (),
        tuple(table.max(axis=0).tolist()) if has_band else (),
    )


def _clean(curve: Curve) -> Curve:
    """Leave out what was not measured, and what lies before the first row."""
    pairs = enumerate(zip(curve.seen, curve.score, strict=False))
    good = [i for i, (n, score) in pairs if n > 0 and math.isfinite(score)]
    seen, score = tuple(curve.seen[i] for i in good), tuple(curve.score[i] for i in good)
    return Curve(seen, score, tuple(curve.loss[i] for i in good) if curve.loss else ())


def data_line(name: str, style: str, points: Sequence[Point], metric: str = "") -> Line | None:
    """Return an arm's data curve with its intervals; where one is unbounded, without band.

    No share is below nothing or above all, whatever an interval of few rows says.

    >>> wide = Point(4, (0.9,), Interval(-0.25, 0.9, 2.0))
    >>> line = data_line("probe", "best", [wide], "accuracy")
    >>> line.low, line.high
    ((0.0,), (1.0,))
    """
    good = [point for point in points if math.isfinite(_height(point))]
    if not good:
        return None
    ends = [end for point in good for end in (point.interval.low, point.interval.high)]
    is_bounded = all(map(math.isfinite, ends))
    if metric in words.SHARES:
        ends = [min(1.0, max(0.0, end)) for end in ends]
    return Line(
        name,
        style,
        tuple(float(point.n_rows) for point in good),
        tuple(_height(point) for point in good),
        tuple(ends[::2]) if is_bounded else (),
        tuple(ends[1::2]) if is_bounded else (),
    )


def _height(point: Point) -> float:
    """Return the mean over seeds."""
    return float(np.mean(point.scores)) if point.scores else point.interval.mid


def effort(evidence: Evidence) -> dict[str, Any] | None:
    """Return what learning looked like; None where no arm has a curve."""
    style = styles(evidence)
    found = (mean_curve(arm, style.get(arm, ""), c) for arm, c in evidence.effort.items())
    lines = _in_order([line for line in found if line is not None])
    if not any(len(line.x) > 1 for line in lines):
        return None
    return _charted(evidence, lines, "Score while learning", "rows processed", _on_the_way)


def data(evidence: Evidence) -> dict[str, Any] | None:
    """Return score against labeled rows, the labels saved drawn on it; None without points."""
    style = styles(evidence)
    found = (
        data_line(arm, style.get(arm, ""), points, evidence.score)
        for arm, points in evidence.data.items()
    )
    lines = _in_order([line for line in found if line is not None])
    if not any(len(line.x) > 1 for line in lines):
        return None
    saved = saving(evidence)
    figure = _charted(evidence, lines, "Score by labeled rows", "labeled rows", _measured, saved)
    return figure | {"saved": saved}


def saving(evidence: Evidence) -> LabelsSaved | None:
    """Return the labels saved, on the means of the two data curves; None where they lack one.

    What its gain does not tell is not read off the curves either.
    """
    told = (gain.interval for gain in evidence.gains if gain.name == "labels saved")
    if next(told, None) is None:
        return None
    control = "scratch" if "scratch" in evidence.data else evidence.verdict.control
    pair = [evidence.data.get(arm, ()) for arm in (evidence.verdict.transfer, control)]
    curves = [_clean(Curve(tuple(p.n_rows for p in points),
                           tuple(map(_height, points)))) for points in pair]  # fmt: skip
    if any(len(curve) < 2 for curve in curves):
        return None
    try:
        return labels_saved(curves[0], curves[1])
    except ValueError:  # the two cover no rows in common
        return None


def _in_order(lines: list[Line]) -> list[Line]:
    """Put what matters most on top."""
    rank = {"best": 3, "rival": 2, "transfer": 1}
    return sorted(lines, key=lambda line: rank.get(line.style, 0))


def _charted(
    evidence: Evidence,
    lines: list[Line],
    title: str,
    across: str,
    score_at: ScoreAt,
    saved: LabelsSaved | None = None,
) -> dict[str, Any]:
    name = words.SCORES.get(evidence.score, (evidence.score, ""))[0]
    places = [x for line in lines for x in line.x]
    axes = (
        Axis(across, words.count, is_log=max(places) > 12 * min(places)),
        Axis(name, lambda value: _tick(value, evidence.score)),
    )
    said = "; ".join(_line_in_words(line, evidence.score) for line in reversed(lines))

    def draw(width: int) -> Markup:
        chart = Chart(title, said, lines, *axes, width, 390 if width == WIDE else 300)
        return chart.draw(*([] if saved is None else saved_marks(chart, saved)))

    table = _table(lines, evidence.score, across, score_at)
    return both(draw) | {"table": table, "is_log": axes[0].is_log}


def _tick(value: float, metric: str) -> str:
    return f"{100 * value:.0f} %" if metric in words.SHARES else words.minus(f"{value:g}")


def _line_in_words(line: Line, metric: str) -> str:
    first, last = (words.score(line.y[at], metric) for at in (0, -1))
    if len(line.y) == 1:
        return f"{line.name}: {first}"
    x = f"{words.count(line.x[0])} to {words.count(line.x[-1])}"
    return f"{line.name}: from {first} to {last} over {x}"


def _table(lines: list[Line], metric: str, across: str, score_at: ScoreAt) -> dict[str, Any]:
    """Return at most eight points of every line as text, for those who want the numbers."""
    places = sorted({x for line in lines for x in line.x})
    if len(places) > 8:
        places = [places[i] for i in np.linspace(0, len(places) - 1, 8).round().astype(int)]
    header = ["arm", *(f"{words.count(x)} rows" for x in places)]
    rows = [_row(line, places, metric, score_at) for line in reversed(lines)]
    return {"header": header, "rows": rows, "caption": f"Score by {across}"}


def _row(line: Line, places: Sequence[float], metric: str, score_at: ScoreAt) -> list[str]:
    scores = (score_at(line, x) for x in places)
    return [line.name, *("" if one is None else words.score(one, metric) for one in scores)]


def _measured(line: Line, x: float) -> float | None:
    """Return the score at x if one was measured there."""
    return dict(zip(line.x, line.y, strict=True)).get(x)


def _on_the_way(line: Line, x: float) -> float | None:
    """Return the score at x, in proportion between the two points measured around it."""
    return float(np.interp(x, line.x, line.y)) if line.x[0] <= x <= line.x[-1] else None


def saved_marks(chart: Chart, saved: LabelsSaved) -> list[Markup]:
    """Return the labels saved as an arrow at the height both reach; nothing where none are."""
    if saved.saved is None or saved.saved <= 0 or saved.transfer.rows is None:
        return []
    rival = next((line for line in chart.lines if line.style == "rival"), None)
    scratch = next((line for line in chart.lines if line.name == "scratch"), rival)
    if scratch is None:
        return []
    height = chart.y(float(np.interp(saved.n, scratch.x, scratch.y)))
    start, stop = chart.x(saved.transfer.rows), chart.x(saved.n)
    said = f"{'≥ ' if saved.transfer.is_bound else ''}{words.count(saved.saved)} labels saved"
    middle = (start + stop) / 2
    return [
        element("path", class_="saved", d=polyline([(start + 8, height), (stop - 5, height)])),
        element("path", class_="saved tip", d=polyline(
            [(start, height), (start + 9, height - 4.5), (start + 9, height + 4.5)]) + "Z"),
        element("path", class_="drop", d=polyline([(start, height), (start, chart.y.start)])),
        element("text", said, class_="saved", x=max(middle, 116.0), y=height + 18,
                text_anchor="middle"),
    ]  # fmt: skip


def network(evidence: Evidence) -> Network:
    """Return the transferred network as it is drawn."""
    plan, stages = evidence.transfer_plan, evidence.transfer_plan.get("stages") or []
    # An arm of the caller's may have tried step 5 and kept its probe.
    is_moved = str(plan.get("outcome", "")).startswith("finetuned")
    n_frozen = int(plan.get("boundary", 0)) if is_moved else len(stages)
    n = len(evidence.task.labels)
    says = {Kind.REGRESSION: "a number", Kind.MULTILABEL: f"any of {n}",
            Kind.TAGS: f"{n // 2} types"}  # fmt: skip
    return Network(
        n_stages=len(stages),
        n_frozen=min(n_frozen, len(stages)),
        reads=f"a {row_word(evidence)}",
        says=says.get(evidence.task.kind, f"1 of {n}"),
    )


def ruler(gain: Interval, worth: float, metric: str) -> dict[str, Markup]:
    """Return the gain with its interval on a line of which the middle is no gain."""
    return both(lambda width: _ruler(gain, worth, metric, width))


def _ruler(gain: Interval, worth: float, metric: str, width: int) -> Markup:
    known = [abs(v) for v in (*gain, worth) if math.isfinite(v)]
    reach = max(1.15 * max(known, default=0.0), 0.01)
    x = Scale(-reach, reach, 8, width - 8)
    low, high = max(gain.low, -reach), min(gain.high, reach)
    tone = "off" if gain.low <= worth and gain.high >= -worth else "on"
    ticks = [value for value in x.ticks(4 if width < WIDE else 8)]
    said = f"{words.difference(gain.mid, metric)}, {words.bounds(gain, metric)}"
    return picture(
        "The gain of transfer",
        said,
        width,
        86,
        element("text", "← worse with transfer", class_="side", x=8, y=14),
        element("text", "better with transfer →", class_="side", x=width - 8, y=14,
                text_anchor="end"),
        element("line", class_="grid", x1=8, x2=width - 8, y1=60, y2=60),
        element("line", class_="zero", x1=x(0), x2=x(0), y1=22, y2=66),
        element("line", class_=f"reach {tone}", x1=x(low), x2=x(high), y1=40, y2=40),
        element("circle", class_=f"at {tone}", cx=x(gain.mid), cy=40, r=7),
        *(element("text", _ruler_tick(value, metric), class_="tick", x=x(value), y=80,
                  text_anchor="middle") for value in ticks),
    )  # fmt: skip


def _ruler_tick(value: float, metric: str) -> str:
    if abs(value) < 1e-9:
        return "0"
    return words.minus(f"{100 * value:+g}" if metric in words.SHARES else f"{value:+g}")


def interval_glyph(gain: Interval) -> Markup:
    """Return a small interval on a scale of its own, over a line at no gain."""
    known = [abs(value) for value in gain if math.isfinite(value)]
    reach = 1.1 * max(known, default=0.0) or 1.0
    x = Scale(-reach, reach, 6, 174)
    tone = "off" if gain.low <= 0 <= gain.high else "on"
    return element(
        "svg",
        element("line", class_="zero", x1=x(0), x2=x(0), y1=2, y2=22),
        element("line", class_=f"reach {tone}", x1=x(gain.low), x2=x(gain.high), y1=12, y2=12),
        element("circle", class_=f"at {tone}", cx=x(gain.mid), cy=12, r=4.5),
        viewBox=f"0 0 {number(180)} 24",
        class_="dumbbell",
        aria_hidden="true",
    )
