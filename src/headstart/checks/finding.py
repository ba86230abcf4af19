"""Finding: one thing that a person should know of the data or the fit, and what to do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from headstart.data.dataset import Skipped

Severity = Literal["note", "warning"]

#: Rows that a finding names; it counts all.
N_NAMED = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Parameters
    ----------
    kind
        "duplicates", "near-duplicates", "labels", "imbalance", "unreadable", "overfitting",
        "shift", "unlike" (single new rows) or "preprocessing".
    severity
        "warning" where scores or predictions may mislead, else "note".
    what
        What was found, in a sentence.
    n
        How many rows it is about.
    rows
        The first of them by name, most striking first.
    twins
        Where rows come in pairs, the other row of each of `rows`.
    fix
        What to do; empty where nothing need be done.
    facts
        The numbers behind the sentence.
    """

    kind: str
    severity: Severity
    what: str
    n: int = 0
    rows: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    fix: str = ""
    facts: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line, for a terminal."""
        return f"{self.severity}: {self.what}" + (f" {self.fix}" if self.fix else "")

    @property
    def is_warning(self) -> bool:
        """Whether scores or predictions may mislead."""
        return self.severity == "warning"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"rows": list(self.rows), "twins": list(self.twins)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Finding":
        """Read back what `to_json` wrote.

        >>> found = Finding("shift", "note", "They differ.", rows=("a.jpg",))
        >>> Finding.from_json(found.to_json()) == found
        True
        """
        pairs = {"rows": tuple(values["rows"]), "twins": tuple(values["twins"])}
        return cls(**(values | pairs))


def unreadable(skipped: Sequence[Skipped], n: int) -> list[Finding]:
    """Return what is to be said of the rows that were left out.

    Parameters
    ----------
    skipped
        Those rows, and why.
    n
        How many rows there were with them.
    """
    if not skipped:
        return []
    return [
        Finding(
            "unreadable",
            "warning" if len(skipped) > 0.01 * n else "note",
            f"{counted(len(skipped), 'row')} of {n:,} cannot be read and took no part.",
            len(skipped),
            tuple(f"{row.row}: {row.reason}" for row in skipped[:N_NAMED]),
            fix="Mend or remove them.",
        )
    ]


def counted(n: int, thing: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def quoted(names: Sequence[str], at_most: int = 5) -> str:
    """Return the first names in quotation marks.

    >>> quoted(["ant", "bee"], at_most=1)
    "'ant' and 1 more"
    """
    shown = ", ".join(repr(str(name)) for name in names[:at_most])
    return shown + (f" and {len(names) - at_most:,} more" if len(names) > at_most else "")
