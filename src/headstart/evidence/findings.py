"""Findings: what a study says of its rows, of its source, and of arms that learn by heart."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.checks.examine import examine
from headstart.checks.finding import Finding
from headstart.data.dataset import TEST, TRAIN
from headstart.evidence.evidence import Outcome
from headstart.evidence.study import Study
from headstart.ranking.ranking import Ranking
from headstart.sources.source import Source


def in_rows(study: Study, truth: Any) -> tuple[Finding, ...]:
    """Examine the rows, with the labels of the test rows, now that they are read."""
    targets = np.concatenate([np.asarray(study.pool.targets), truth])
    parts = np.array([TRAIN] * len(study.pool) + [TEST] * len(study.test))
    rows = [*study.pool.rows, *study.test.rows]
    whole = replace(
        study.pool,
        rows=np.asarray(rows) if isinstance(study.pool.rows, np.ndarray) else tuple(rows),
        targets=targets,
        names=tuple(d.name(i) for d in (study.pool, study.test) for i in range(len(d))),
        split=parts,
        domain=None,
        weight=None,
        skipped=study.skipped,
    )
    return examine(whole, study.features, preprocess=study.source.preprocess)


def by_heart(outcomes: Sequence[Outcome], arms: Iterable[str]) -> tuple[Finding, ...]:
    """Return how much better each of some arms is on rows it learned from, and what was done."""
    found = []
    for name in dict.fromkeys(arms):
        told = [one.facts.get("overfitting") for one in outcomes if one.arm == name]
        for gap in next(filter(None, told), ()):
            finding = Finding.from_json(gap)
            found.append(replace(finding, what=f"{name}: {finding.what}"))
    return tuple(found)


def card(source: Source, ranking: Ranking | None) -> dict[str, Any]:
    """Return what the evidence keeps of the source's card, and how the source was chosen."""
    names = ("uri", "title", "trained_on", "license", "n_parameters", "size_bytes", "homepage")
    facts = {name: getattr(source, name) for name in names} | {"modality": str(source.modality)}
    return facts if ranking is None else facts | {"ranking": ranking.to_json()}
