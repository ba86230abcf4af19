"""The ranking's choice against fine-tuning every source: what its choice loses.

Every trainable picture source is fine-tuned (upper quarter) on all training rows, with several
seeds; one that is frozen only has its probe. The ranker sees a quarter of the rows.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import Row, Study, own_home
from bench.study_rank import SHARE, Case, _emoji, _hymenoptera, _pairs, regret

SIZES: dict[str, dict[str, Any]] = {"full": {}}


def study(repeats: int) -> Study:
    """Fine-tune everything on two small sets, `repeats` seeds each."""
    rows, facts = [], {}
    with own_home():
        for make in (_hymenoptera, _emoji):
            for case in make():
                facts[case.name] = one = _case(case, repeats)
                print(f"{case.name}: {one}", flush=True)
                lost = (float(np.mean(one["regret"])),)
                rows.append(Row(f"{case.name}: points lost by ranking", lost, at_most=2.0))
    return Study(
        "The ranking's choice, fine-tuned, against the best of all sources fine-tuned.",
        tuple(rows),
        (
            f"Truth: mean test accuracy over {repeats} seeds; the best is picked on one half of "
            "the test rows and judged on the other.",
        ),
        facts=facts,
    )


def _case(case: Case, repeats: int) -> dict[str, Any]:
    from headstart.ranking.rank import rank

    chosen = []
    for seed in range(repeats):
        part = case.train.take(_pairs(case.train, int(len(case.train) * SHARE), seed))
        ranking = rank(part, seed=seed)
        chosen.append(ranking.best.uri)
    began = time.perf_counter()
    right = {
        (row.source.uri, 0): np.mean([_right(case, row.source, s) for s in range(repeats)], axis=0)
        for row in ranking.rows
    }
    return {
        "chosen": chosen,
        "regret": [round(100 * regret(right, (uri, 0)), 3) for uri in chosen],
        "truth": {uri: float(value.mean()) for (uri, _), value in right.items()},
        "seconds": time.perf_counter() - began,
    }


def _right(case: Case, source: Any, seed: int) -> NDArray[np.float64]:
    from headstart.transfer.transfer import Transfer

    finetune = "only:last:25%" if source.is_trainable else "no"
    model = Transfer(source.uri, finetune=finetune, seed=seed).fit(case.train)
    said = model.bundle_.outputs(case.test).argmax(axis=1)
    return np.asarray(said == case.test.targets, dtype=np.float64)
