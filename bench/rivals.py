"""The same small network by three hands, with one recipe: what is killed side by side.

All go 30 times through the same 16 rows in batches of 8, with AdamW and dropout, and save after
every second step, which is the end of a pass: where Headstart saves, unless a person stops it.
Each is called the way its documentation says to go on after an interruption. `do` runs inside a
fork of `tests.faults.server`, under the Python that `HEADSTART_RIVALS_PYTHON` names.
"""

import hashlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

N_STEPS, EVERY, N_ROWS, BATCH, RATE = 60, 2, 16, 8, 1e-3


def preload() -> None:
    """Read what there is of the three, and compute nothing."""
    import transformers  # noqa: F401

    from headstart.extras import import_timm, import_transformers

    import_timm(), import_transformers()  # where torchvision does not fit torch, they mend it
    import headstart.steps.loop  # noqa: F401

    if importlib.util.find_spec("lightning"):
        import lightning.pytorch  # noqa: F401
        from transformers import Trainer  # noqa: F401


def do(name: str, arguments: list[str]) -> int:
    """Train, or go on, in a folder; write the hash of the weights at the end."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    state = WORKS[name](folder)
    total = hashlib.sha256()
    for key in sorted(state):
        total.update(key.encode())
        total.update(state[key].detach().cpu().contiguous().numpy().tobytes())
    (folder / "done.txt").write_text(total.hexdigest(), encoding="ascii")
    return 0


def network() -> Any:
    """A small network with dropout, so that random state matters."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(16, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, 2),
    )  # fmt: skip


def rows() -> tuple[Any, Any]:
    """Rows of numbers in two classes; shapes (n, 16) and (n,)."""
    import torch

    values = torch.randn(N_ROWS, 16, generator=torch.Generator().manual_seed(1))
    return values, (values[:, 0] > 0).long()


def trainer(folder: Path) -> dict[str, Any]:
    """Go on as Trainer's documentation says: resume_from_checkpoint=True where there is one."""
    import torch
    from transformers import Trainer, TrainingArguments

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    values, targets = rows()
    data = [{"x": x, "labels": y} for x, y in zip(values, targets, strict=True)]
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=N_STEPS, save_steps=EVERY, save_total_limit=2,
        per_device_train_batch_size=BATCH, learning_rate=RATE, report_to=[], disable_tqdm=True,
        logging_strategy="no", use_cpu=True, dataloader_num_workers=0, seed=0,
    )  # fmt: skip
    made = Trainer(model=Classifier(), args=arguments, train_dataset=data)
    found = any((folder / "out").glob("checkpoint-*"))
    made.train(resume_from_checkpoint=True if found else None)
    return dict(made.model.state_dict())


def lightning(folder: Path) -> dict[str, Any]:
    """Go on as Lightning's documentation says: ckpt_path="last"."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader, TensorDataset

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=RATE)

    keep = ModelCheckpoint(
        dirpath=str(folder / "out"), every_n_train_steps=EVERY, save_last=True, save_top_k=1
    )
    made = Trainer(
        accelerator="cpu", max_steps=N_STEPS, callbacks=[keep], logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=str(folder),
    )  # fmt: skip
    model = Classifier()
    loader = DataLoader(TensorDataset(*rows()), batch_size=BATCH, shuffle=True)
    made.fit(model, loader, ckpt_path="last")
    return dict(model.state_dict())


def headstart(folder: Path) -> dict[str, Any]:
    """The same command again."""
    from headstart.features.features import Features
    from headstart.losses.loss import Supervised
    from headstart.runs import Run
    from headstart.steps.attach import Tail
    from headstart.steps.batches import CachedRows, Examples
    from headstart.steps.loop import descend
    from headstart.steps.phase import Phase
    from headstart.task import Kind, Task

    values, targets = (part.numpy() for part in rows())
    task = Task(Kind.MULTICLASS, ("a", "b"))
    examples = Examples(CachedRows([Features.of(values)]), targets, task)
    tail = Tail(None, 0, network())
    epochs = N_STEPS * BATCH // N_ROWS
    phase = Phase(epochs=epochs, rate=RATE, batch=BATCH, patience=epochs)
    with Run(folder) as run:
        descend(tail, examples, examples, [(1.0, Supervised(task.kind))], phase, run=run)
    return dict(tail.state_dict())


WORKS = {"trainer": trainer, "lightning": lightning, "headstart": headstart}
