"""The PyTorch tutorial's loop on pictures, in float32: SGD, decoding in every epoch.

`--part frozen` is its "network as fixed feature extractor", `--part all` its "finetuning".
"""

import os
import time

import given

asked = given.options(
    part={"default": "frozen"},
    epochs={"type": int, "default": 25},
    batch={"type": int, "default": 4},
    workers={"type": int, "default": min(4, os.cpu_count() or 1)},
)
# user
import torch  # noqa: E402
from torch import nn  # noqa: E402

sets = given.folders(asked.data)
loaders = {
    part: torch.utils.data.DataLoader(
        sets[part], batch_size=asked.batch, shuffle=part == "train", num_workers=asked.workers
    )
    for part in sets
}
torch.manual_seed(asked.seed)
model = given.lite0(len(sets["train"].classes))
given.freeze_lite0(model, asked.part)
criterion = nn.CrossEntropyLoss()
moved = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.SGD(moved, lr=0.001, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
best, curve, trained_s = [], [], 0.0
for _ in range(asked.epochs):
    start = time.perf_counter()
    model.train()
    for inputs, labels in loaders["train"]:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
    scheduler.step()
    trained_s += time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        hits = [(model(inputs).argmax(1) == labels).tolist() for inputs, labels in loaders["test"]]
    right = [hit for batch in hits for hit in batch]
    best = max(right, best, key=sum)
    curve.append((given.seconds(), sum(right) / len(right)))
# end
given.answer(right=best, curve=curve, rate=asked.epochs * len(sets["train"]) / trained_s)
