"""What a person sees: results on stdout, progress and notes on stderr."""

import json
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def out(text: str) -> None:
    """Print a result."""
    sys.stdout.write(printable(text) + "\n")


def err(text: str) -> None:
    """Print what is not a result: a note, an error."""
    sys.stderr.write(printable(text) + "\n")


def as_json(value: Any) -> None:
    """Print one JSON document; what a terminal would obey stands in it as JSON escapes it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    shown = (c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    sys.stdout.write("".join(shown) + "\n")


def printable(text: str) -> str:
    r"""Show control characters as they are written in code, so that no name moves the cursor.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
                   for c in text)  # fmt: skip


def one_line(text: str) -> str:
    r"""Show a name as `printable` does, line breaks and tabs too: it is one cell of one line.

    >>> one_line("a\tb\n")
    'a\\tb\\n'
    """
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as what is in them; on a narrower terminal, a block a row."""
    lines = [tuple(header), *(tuple(one_line(cell) for cell in row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    is_narrow = sum(widths) + 2 * len(widths) - 2 > room()
    shown = _blocks(lines) if is_narrow else [_aligned(line, widths) for line in lines]
    sys.stdout.writelines(f"{line}\n" for line in shown)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    return "  ".join(cells).rstrip()


def room() -> float:
    """Return how many characters a line of stdout holds; a file's or a pipe's is without end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf


def _blocks(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line a cell: the first cell of a row, the others below it under their names.

    >>> list(_blocks([("source", "reads", "here"), ("pkg:a", "text", "yes")]))
    ['pkg:a', '  reads  text', '  here   yes']
    """
    (_, *names), *rows = lines
    width = max(map(len, names))
    for first, *cells in rows:
        yield first
        pairs = zip(names, cells, strict=True)
        yield from (f"  {name.ljust(width)}  {cell}" for name, cell in pairs if cell)


def scores_lines(scores: dict[str, dict[str, float]]) -> list[str]:
    """Return a line a part of the data."""
    return [
        f"{part.replace('_', ' '):<11} "
        + "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.items())
        for part, found in scores.items()
    ]


def notes(texts: Iterable[str]) -> None:
    """Print what was guessed of the data."""
    for text in texts:
        err(f"note: {text}")


def fitted(model: Any, folder: Any) -> dict[str, Any]:
    """Return what a fit found, for `--json` and for `fit`."""
    facts = model.bundle_.facts
    return {
        "run": str(folder),
        "model": str(folder / "model"),
        "source": model.source_.uri,
        "arm": facts["arm"],
        "scores": model.scores_,
        "plan": model.plan_.to_json(),
        "n_computed": facts["n_computed"],
        "skipped": facts["skipped"],
        "seconds": sum(model.plan_.taken_s.values()),
    }


def fit(found: dict[str, Any], plan: Any) -> None:
    """Print what a fit found."""
    out("\n".join(plan.outcome_lines()))
    for note in plan.notes:
        out(f"note       {note}")
    for line in scores_lines(found["scores"]):
        out(f"score      {line}")
    for skipped in found["skipped"]:
        out(f"skipped    {skipped['row']}: {skipped['reason']}")
    out(f"model      {found['model']}")
    out(f"predict    headstart predict {shlex.quote(found['run'])} NEW…")


def predictions(found: list[dict[str, Any]], labels: Sequence[str] = ()) -> None:
    """Print a line a row; `labels` are the types of entities the model knows, in their order."""
    for row in found:
        if "entities" in row:
            shown = marked(row["text"], row["entities"], labels, is_colored())
            name = "" if row["name"] == row["text"] else one_line(row["name"]) + "\t"
            sys.stdout.write(name + shown + "\n")
            continue
        best = ", ".join(f"{one['label']} {one['score']:.3f}" for one in row.get("top", ()))
        cells = [row["name"], str(row.get("prediction", "")), row.get("error", best)]
        cells += ["unlike any learned from"] if row.get("unlike") else []
        out("\t".join(map(one_line, cells)))


#: How entities of the first, second, … type are shown; a terminal has few more that are read well.
_COLORS = (44, 42, 45, 46, 43, 41)


def is_colored() -> bool:
    """Whether results go to a terminal that shows colors."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def marked(
    text: str, entities: Sequence[dict[str, Any]], labels: Sequence[str], colored: bool
) -> str:
    """Return a text with its entities marked: in colors, or between brackets.

    >>> marked("in Rome", [{"label": "LOC", "start": 3, "end": 7, "score": 0.987}], ["LOC"], False)
    'in [Rome LOC 0.99]'
    """
    parts, at = [], 0
    for one in entities:
        parts.append(one_line(text[at : one["start"]]))
        inside = one_line(text[one["start"] : one["end"]])
        said = f"{one['label']} {one['score']:.2f}"
        color = _COLORS[labels.index(one["label"]) % len(_COLORS)]
        parts.append(
            f"\x1b[30;{color}m{inside} \x1b[1m{said}\x1b[0m" if colored else f"[{inside} {said}]"
        )
        at = one["end"]
    return "".join([*parts, one_line(text[at:])])


def write_csv(path: Any, found: list[dict[str, Any]]) -> None:
    """Write predictions as a table; a text that a spreadsheet would run is quoted."""
    import csv
    import io as text

    from headstart.io import write_text

    page = text.StringIO(newline="")
    writer = csv.writer(page)
    labels = list(next((row["outputs"] for row in found if "outputs" in row), {}))
    before, behind = ["name", "prediction"], ["unlike", "error"]
    is_taken = {*before, *behind}.intersection(labels)
    # A class may be called "error"; a table whose columns have one name is read wrongly.
    named = [f"p({label})" if is_taken else label for label in labels]
    writer.writerow([*before, *map(harmless, named), *behind])
    for row in found:
        values = [row.get("outputs", {}).get(label, "") for label in labels]
        unlike = "yes" if row.get("unlike") else ""
        cells = [row["name"], row.get("prediction", ""), *values, unlike, row.get("error", "")]
        writer.writerow(map(harmless, cells))
    write_text(path, page.getvalue())


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def harmless(cell: Any) -> Any:
    """Put a quote before a text that a spreadsheet would read as a formula; numbers stay numbers.

    >>> harmless("=1+1"), harmless("bee"), harmless(-0.5), harmless("-1")
    ("'=1+1", 'bee', -0.5, '-1')
    """
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    # Some programs leave out what cannot be seen, and read full-width signs as the plain ones.
    first = cell.lstrip(" \0")[:1]
    return f"'{cell}" if first and first in "=+-@\t\r\n＝＋－＠" else cell


def shelved(entry: Any) -> dict[str, Any]:
    """Return what is shown of a source of the shelf."""
    source = entry.source
    return {
        "uri": source.uri,
        "modality": str(source.modality),
        "trained_on": source.trained_on,
        "n_parameters": source.n_parameters,
        "license": source.license,
        "frozen_only": not source.is_trainable,
        "on_disk": entry.on_disk,
        "why": entry.why,
    }


def card(source: Any) -> dict[str, Any]:
    """Return what is known of one source, and the stages that can be named."""
    from headstart.sources.catalog import open_backbone
    from headstart.sources.source import to_json

    facts = to_json(source)
    if source.is_trainable:
        backbone = open_backbone(source)
        facts["n_features"] = backbone.n_features
        facts["stages"] = {
            name: sum(parameter.numel() for parameter in backbone.stage(i).parameters())
            for i, name in enumerate(backbone.names)
        }
    return facts


def fields(facts: dict[str, Any]) -> None:
    """Print a record, a line a field; the stages a line each, in the order rows go through them."""
    for name, value in facts.items():
        if name != "stages" and value not in ("", {}, None):
            out(f"{name:<15} {value}")
    for i, (stage, n) in enumerate(facts.get("stages", {}).items()):
        out(f"{'stages' if i == 0 else '':<15} {i:>3} {stage}, {n:,} parameters")


def shelf(found: list[dict[str, Any]]) -> None:
    """Print the shelf."""
    table(
        ("source", "reads", "parameters", "trained on", "license", "here"),
        [
            (
                row["uri"],
                row["modality"],
                f"{row['n_parameters'] / 1e6:.1f} M" + (" frozen" if row["frozen_only"] else ""),
                row["trained_on"],
                row["license"],
                "yes" if row["on_disk"] else "no",
            )
            for row in found
        ],
    )
    for why in dict.fromkeys(row["why"] for row in found if not row["on_disk"]):
        out(why)
    out("Others: timm:NAME, hf:OWNER/NAME, file:PATH, run:PATH of a saved model, scratch:URI.")


def findings(found: list[Any]) -> None:
    """Print what the doctor found."""
    for finding in found:
        out(f"{finding.mark}  {finding.what}")
        for line in finding.fix.splitlines():
            out(f"      {line}")


def arm_line(arm: Any, score: str) -> str:
    """Say what an arm of a study came to.

    >>> from headstart.evidence.evidence import ArmRecord, Interval
    >>> probe = ArmRecord("probe", "transfer", validation={0: 0.5, 1: 0.75}, test={0: 0.5},
    ...                   interval=Interval(0.25, 0.5, 0.75), seconds=2.0, n_seeds=2, n_diverged=1)
    >>> arm_line(probe, "accuracy")
    'probe         accuracy 0.500 [0.250, 0.750], validation 0.625, 2.0 s a seed; 1 of 2 diverged'
    """
    ended = (("diverged", arm.n_diverged), ("had not converged", arm.n_not_converged))
    notes = "".join(f"; {n} of {arm.n_seeds} {how}" for how, n in ended if n)
    if arm.interval is None:
        return f"{arm.name:<13} no score{notes}"
    validation = sum(arm.validation.values()) / len(arm.validation)
    name = score.replace("_", " ")
    return (
        f"{arm.name:<13} {name} {format(arm.interval, '.3f')}, validation {validation:.3f}, "
        f"{arm.seconds:.1f} s a seed{notes}"
    )


def evidence(found: Any, page: Any) -> None:
    """Print the verdict, the arms, the gains, and where the report is."""
    out(f"verdict    {found.verdict}")
    out(f"ships      {found.verdict.shipped}: {found.verdict.why}")
    if math.isfinite(found.verdict.smallest_gain):
        least = f"{found.verdict.smallest_gain:.3f}"
        out(f"power      a true gain of {least} would have been found four times in five")
    for note in found.verdict.notes:
        out(f"note       {note}")
    for arm in found.arms:
        out(f"arm        {arm_line(arm, found.score)}")
    for gain in found.gains:
        out(f"gain       {gain}")
    for finding in found.findings:
        out(f"data       {finding.what}")
    for one in found.remedies:
        gave = "" if one["gave"] is None else f" {one['gave']:+.3f} on validation;"
        out(f"remedy     {one['remedy']}, {one['what']}:{gave} {one['outcome']}")
    out(f"report     {page}")


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"


def parts(found: list[Any]) -> None:
    """Print what the home takes on disk."""
    rows = [(part.name, f"{part.n_files:,}", _megabytes(part.n_bytes), part.what) for part in found]
    table(("part", "files", "size", "what"), rows)
    out(f"in all     {_megabytes(sum(part.n_bytes for part in found))}")


def swept(found: Any) -> None:
    """Print what was removed from the home."""
    from headstart.units import plural

    for name in found.removed:
        out(f"removed    {one_line(name)}")
    for name in found.left:
        out(f"left       {one_line(name)}: see that you may write there and that the disk works")
    out(f"free now   {_megabytes(found.n_bytes)} more, of {plural(len(found.removed), 'file')}")


def verified(found: Any) -> None:
    """Print what is not as it was written."""
    from headstart.units import plural

    for name in found.damaged:
        if name in found.left:
            done = "could not be removed: see that you may write there and that the disk works"
        else:
            done = "removed; it is made again when it is needed"
        out(f"damaged    {one_line(name)}: {done}")
    out(f"checked    {plural(found.n_files, 'file')}, {len(found.damaged):,} damaged")
