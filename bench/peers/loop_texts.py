"""A plain PyTorch loop on texts, in float32: AdamW, batches padded to their longest."""

import random
import time

import given

asked = given.options(
    part={"default": "all"},
    epochs={"type": int, "default": 3},
    batch={"type": int, "default": 32},
)
train, test = given.rows(asked.data / "train.csv"), given.rows(asked.data / "test.csv")
given.whole_torchvision()
# user
import torch  # noqa: E402
from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

torch.manual_seed(asked.seed)
names = sorted(set(train[1]))
tokenizer = AutoTokenizer.from_pretrained(given.minilm())
model = AutoModelForSequenceClassification.from_pretrained(given.minilm(), num_labels=len(names))
given.freeze_bert(model, asked.part)
moved = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(moved, lr=5e-5)


def batches(texts, labels):
    for start in range(0, len(texts), asked.batch):
        at = slice(start, start + asked.batch)
        inputs = tokenizer(texts[at], padding=True, truncation=True, return_tensors="pt")
        yield inputs, torch.tensor([names.index(label) for label in labels[at]])


curve, right, trained_s = [], [], 0.0
shuffled = list(zip(*train, strict=True))
for _ in range(asked.epochs):
    start = time.perf_counter()
    model.train()
    random.Random(asked.seed).shuffle(shuffled)
    for inputs, labels in batches(*map(list, zip(*shuffled, strict=True))):
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
    trained_s += time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        hits = [
            (model(**inputs).logits.argmax(1) == labels).tolist()
            for inputs, labels in batches(*test)
        ]
    right = [hit for batch in hits for hit in batch]
    curve.append((given.seconds(), sum(right) / len(right)))
# end
given.answer(right=right, curve=curve, rate=asked.epochs * len(shuffled) / trained_s)
