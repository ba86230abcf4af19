"""Extras: the one door for optional and heavy libraries.

It also repairs a torchvision that was built for another torch.
"""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from headstart.errors import MissingExtra

#: torch forgets an operator when the library that declared it is collected.
_declared: list[Any] = []


def need(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say how to install it.

    Parameters
    ----------
    module
        What is imported: "pyarrow.parquet".
    extra
        The extra of Headstart that installs it: "parquet".

    Examples
    --------
    >>> need("json", "parquet").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        state = "cannot be imported" if importlib.util.find_spec(package) else "is not installed"
        raise MissingExtra(
            f"{package} {state} ({error}).\n"
            f"It is needed here and comes with an extra: pip install 'headstart[{extra}]'"
        ) from error


def ensure_torchvision() -> str:
    """Import torchvision, repairing its mismatch with torch if that is what fails.

    A torchvision whose compiled part was built for another torch fails on import, because the
    operators it wants to describe were never declared. Declaring them is enough for transforms,
    models and timm to work; `torchvision.ops.nms` itself stays unusable.

    Returns
    -------
    "absent", "ok" or "repaired".
    """
    if _declared:
        return "repaired"
    if importlib.util.find_spec("torchvision") is None:
        return "absent"
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return "ok"
    _declare_operators()
    importlib.import_module("torchvision")
    return "repaired"


def _declare_operators() -> None:
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def import_timm() -> ModuleType:
    """Import timm, with a torchvision that works."""
    ensure_torchvision()
    return importlib.import_module("timm")


def import_transformers() -> ModuleType:
    """Import transformers, with a torchvision that works."""
    ensure_torchvision()
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    return importlib.import_module("transformers")


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Let "timm" or "transformers" write no log lines and no bars within, and then as before."""
    with ExitStack() as after:
        if library == "transformers":
            _hide_bars(import_transformers().logging, after)
        logger = logging.getLogger(library)
        after.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        yield


def _hide_bars(bars: Any, after: ExitStack) -> None:
    """Hide the bars of transformers, and say what is to be done to have them back."""
    from huggingface_hub import utils as hub

    # Those of transformers and of the hub are switched together, and a person may have hidden one.
    if hub.are_progress_bars_disabled():
        after.callback(hub.disable_progress_bars)
    if bars.is_progress_bar_enabled():
        after.callback(bars.enable_progress_bar)
    bars.disable_progress_bar()
