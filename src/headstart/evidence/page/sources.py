"""Sources: what else the study might have started from, drawn and in a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from headstart.evidence.evidence import Evidence
from headstart.evidence.page import figures, words
from headstart.evidence.page.chart import Axis, Chart, Line
from headstart.evidence.page.svg import element, polyline
from headstart.units import plural

Row = Mapping[str, Any]


def sources(evidence: Evidence) -> dict[str, Any] | None:
    """Return the ranking that chose the source; None where it was named."""
    ranking = evidence.source.get("ranking")
    if not ranking or not ranking.get("rows"):
        return None
    rows: list[Row] = ranking["rows"]
    measure = ranking["measure"]
    n = max(row["n_rows"] for row in rows)
    return {
        "lead": f"{plural(len(rows), 'source')} of the shelf were measured on up to {n:,} "
        "training rows, frozen, with a linear head; the study started from the first. No test "
        "row was read.",
        "latency": _latency(rows, measure),
        "boundaries": _boundaries(rows, measure),
        "table": _table(rows, measure),
        "left_out": [f"{one['uri']}: {one['reason']}" for one in ranking["left_out"]],
        "notes": list(ranking["notes"]),
    }


def name(row: Row) -> str:
    """Return a source's name without its scheme.

    >>> name({"uri": "pkg:efficientnet-lite0"}), name({"uri": "file:/far/away/card.toml"})
    ('efficientnet-lite0', 'card.toml')
    """
    return words.shorten(str(row["uri"]).partition(":")[2].rstrip("/").rpartition("/")[2], 28)


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the places that no other place beats in both cost and score, the cheapest first.

    >>> front([1.0, 2.0, 3.0, 4.0], [0.5, 0.9, 0.8, 0.95])
    [0, 1, 3]
    """
    found: list[int] = []
    for at in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if not found or scores[at] > scores[found[-1]]:
            found.append(at)
    return found


def _latency(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    costs = [float(row["latency_ms"]) for row in rows]
    scores = [float(row["score"][1]) for row in rows]
    best = front(costs, scores)
    lines = [
        Line(
            f"{i + 1} {name(row)}", "best" if i == 0 else "rival" if i in best else "",
            (cost,), (score,), (float(row["score"][0]),), (float(row["score"][2]),),
        )
        for i, (row, cost, score) in enumerate(zip(rows, costs, scores, strict=True))
    ]  # fmt: skip
    listed = ", ".join(name(rows[i]) for i in best)

    def draw(width: int) -> Markup:
        chart = Chart(
            "Score and latency of the sources",
            f"No other source is both faster and better than {listed}.",
            lines[::-1],
            Axis("one row takes", lambda ms: f"{ms:.3g} ms", is_log=True),
            Axis(measure, lambda value: words.minus(f"{value:.2f}")),
            width=width,
        )
        marks = [_mark(chart, place, line) for place, line in enumerate(lines, 1)]
        return chart.draw(_front(chart, best, costs, scores), *marks)

    return figures.both(draw) | {
        "caption": "Each dot is a source, numbered by its place: higher is better, further left is "
        "faster; bars are 95 % intervals. The dashed line is the Pareto front: what lies on it is "
        "beaten in both by no other."
    }


def _front(
    chart: Chart, places: Sequence[int], costs: Sequence[float], scores: Sequence[float]
) -> Markup:
    """Return the front as steps: each score is to be had from its cost on."""
    points: list[tuple[float, float]] = []
    for at in places:
        x, y = chart.x(costs[at]), chart.y(scores[at])
        points += [(x, points[-1][1]), (x, y)] if points else [(x, y)]
    points.append((chart.x.stop, points[-1][1]))
    return element("path", class_="line transfer", d=polyline(points))


def _mark(chart: Chart, place: int, line: Line) -> Markup:
    """Return the interval of a source, and its place in the ranking beside its dot."""
    x, y = chart.x(line.x[0]), chart.y(line.y[0])
    low, high = chart.y(line.low[0]), chart.y(line.high[0])
    bar = element("line", class_="lead", x1=x, x2=x, y1=low, y2=high)
    return bar + element("text", str(place), class_="tick", x=x + 7, y=y - 7)


def _boundaries(rows: Sequence[Row], measure: str) -> dict[str, Any] | None:
    """Return score against the share of a source that was run; None where only tops were."""
    if all(len(row["by_boundary"]) < 2 for row in rows):
        return None
    styles = ["best", "rival", *figures.DASHES * len(rows)]
    lines = [_by_boundary(row, style) for row, style in zip(rows, styles, strict=False)]

    def draw(width: int) -> Markup:
        return Chart(
            "Score by boundary",
            "How well the features at lower stages do, source by source.",
            lines[::-1],
            Axis("share of the stages that lie below", lambda share: f"{100 * share:.0f} %"),
            Axis(measure, lambda value: words.minus(f"{value:.2f}")),
            width=width,
        ).draw()

    return figures.both(draw) | {
        "caption": "Score of features taken from lower down, by a quick probe. A source that was "
        "made for something else often serves better from its lower stages."
    }


def _by_boundary(row: Row, style: str) -> Line:
    found = row["by_boundary"]
    stages = [float(at) for at in found] if len(found) > 1 else [1.0]
    return Line(name(row), style, tuple(at / stages[-1] for at in stages), tuple(found.values()))


def _table(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    """Return what was measured of each source; a column that nobody has is left out."""
    columns: dict[str, Callable[[Row], str]] = {
        "source": name,
        measure: lambda row: f"{row['score'][1]:.3f}",
        "95 %": lambda row: f"{row['score'][0]:.3f} to {row['score'][2]:.3f}",
        "tied": lambda row: "yes" if row["is_tied"] else "",
        "boundary": lambda row: str(row["boundary"] or "top"),
        "latency": lambda row: f"{row['latency_ms']:.1f} ms",
        "memory": lambda row: f"{row['memory_bytes'] / 1e6:.0f} MB",
        "parameters": lambda row: f"{row['n_parameters'] / 1e6:.1f} M",
        "distance": lambda row: _number(row.get("distance"), ".2f"),
        "LogME": lambda row: _number(row.get("logme"), ".3f"),
        "H-score": lambda row: _number(row.get("h_score"), ".2f"),
        "TransRate": lambda row: _number(row.get("transrate"), ".2f"),
        "5-NN": lambda row: _number(row.get("neighbors"), ".3f"),
        "LEEP": lambda row: _number(row.get("leep"), ".2f"),
        "license": lambda row: str(row["license"]).partition(" (")[0],
    }
    kept = {title: say for title, say in columns.items() if any(say(row) for row in rows)}
    return {"header": list(kept), "rows": [[say(row) for say in kept.values()] for row in rows]}


def _number(value: float | None, how: str) -> str:
    return "" if value is None else words.minus(format(value, how))
