"""sentence-transformers: `encode`, as its documentation calls it, and at other batch sizes.

It sorts the texts by length itself.
"""

import time

import given

asked = given.options(batches={"type": int, "nargs": "*", "default": []})
given.whole_torchvision()
from sentence_transformers import SentenceTransformer  # noqa: E402

texts, _ = given.rows(asked.data)
model = SentenceTransformer(given.minilm(), device="cpu")
model.encode(texts[:64])

rates = {}
for batch in (None, *asked.batches):
    start = time.perf_counter()
    model.encode(texts) if batch is None else model.encode(texts, batch_size=batch)
    rates[str(batch or "default")] = len(texts) / (time.perf_counter() - start)
given.answer(rates=rates)
