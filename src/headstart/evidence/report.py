"""Report: the evidence as one page that a person understands, as Markdown and as JSON.

The page is one file. It holds no script and asks nothing of the network, and says so to the
browser: its content security policy allows its own style, by hash, and pictures that lie inside
it. Whatever comes from data (names of classes, rows, arms, files) is escaped where it is written.
"""

import base64
import functools
import hashlib
import html as entities
import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.evidence.evidence import Evidence
from headstart.evidence.page import words
from headstart.evidence.page.decision import headline
from headstart.evidence.page.story import story
from headstart.io import write_json, write_text

PAGE = Path(__file__).parent / "page"

#: What Markdown would read as more than text.
SPECIAL = re.compile(r"([\\`*_\[\]|#~])")
#: A space between a number and its percent sign.
PERCENT = re.compile(r"(?<=\d) %")


def html(evidence: Evidence, *, run: str = "", rows: Mapping[str, Any] | None = None) -> str:
    """Return the report as one self-contained HTML page.

    Parameters
    ----------
    evidence
        What a study found.
    run
        The run's folder, as a person would type it.
    rows
        Raw rows by name (as `Dataset.name` names them), to show the mistakes; pictures that lie
        where their name says are found without.
    """
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _templates(is_html=True)
        .get_template("page.html.j2")
        .render(
            page=story(evidence, run, rows or {}),
            style=style,
            style_hash=f"sha256-{digest}",
            version=_version(),
        )
    )


def markdown(evidence: Evidence, *, run: str = "", rows: Mapping[str, Any] | None = None) -> str:
    """Return the report as Markdown; the parameters are those of `html`."""
    page = story(evidence, run, rows or {})
    return (
        _templates(is_html=False).get_template("page.md.j2").render(page=page, version=_version())
    )


def document(evidence: Evidence) -> dict[str, Any]:
    """Return the report as plain JSON values: all of the evidence, and what its numbers mean."""
    terms = {name: meaning for name, (_, _, meaning) in words.GAINS.items()}
    scores = {name: meaning for name, (_, meaning) in words.SCORES.items()}
    return {
        "headline": headline(evidence),
        "said": str(evidence.verdict),
        "evidence": evidence.to_json(),
        "meaning": {"gains": terms, "scores": scores, "terms": words.TERMS},
    }


def write(
    evidence: Evidence, folder: Path, *, run: str = "", rows: Mapping[str, Any] | None = None
) -> Path:
    """Write `report.html`, `report.md` and `report.json` into a folder; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.md", markdown(evidence, run=run, rows=rows))
    write_json(folder / "report.json", document(evidence))
    write_text(folder / "report.html", html(evidence, run=run, rows=rows))
    return folder / "report.html"


def notebook(evidence: Evidence) -> str:
    """Return what a notebook shows: the verdict, and the page in a frame that may do nothing."""
    said, page = entities.escape(headline(evidence)), entities.escape(html(evidence), quote=True)
    return (
        f"<p><strong>{said}</strong></p>"
        f'<iframe srcdoc="{page}" sandbox="" title="Headstart report" width="100%" '
        'height="720" style="border:0"></iframe>'
    )


@functools.cache
def _templates(is_html: bool) -> Any:
    """Return the templates; in a page everything written is escaped as the page needs."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=is_html,
        undefined=StrictUndefined,
        finalize=together if is_html else escaped,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"as_is": Written, "code": indented}
    return made


class Written(str):
    """Markdown already, every value in it escaped."""


def indented(code: str) -> Written:
    """Return a block of code; nothing in it can end it."""
    return Written("\n".join(f"    {line}" for line in code.splitlines()))


def escaped(value: Any) -> Any:
    r"""Return a value as Markdown that shows it: no markup, no tags, no new line.

    >>> print(escaped("a|b\n# <b>*c*</b>"))
    a\|b \# &lt;b&gt;\*c\*&lt;/b&gt;
    """
    if isinstance(value, Written):
        return value
    text = " ".join(str(value).split())
    return SPECIAL.sub(r"\\\1", entities.escape(text, quote=False))


def together(value: Any) -> Any:
    """Return text in which no line ends between a number and its percent sign.

    >>> len(together("88 % of all").split(" ")), together(88)
    (3, 88)
    """
    return PERCENT.sub("\N{NO-BREAK SPACE}%", value) if type(value) is str else value


def _version() -> str:
    try:
        return importlib.metadata.version("headstart")
    except importlib.metadata.PackageNotFoundError:
        return ""
