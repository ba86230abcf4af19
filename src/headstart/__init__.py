"""Headstart: transfer learning, with proof.

The public names below are imported when they are first used, so that `import headstart` is cheap.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError(
        "Headstart runs on Linux and macOS, and not on Windows itself.\n"
        "Install it in WSL, the Linux within Windows: https://learn.microsoft.com/windows/wsl"
    )

if TYPE_CHECKING:
    from headstart.bundle.bundle import Bundle
    from headstart.bundle.load import load
    from headstart.data.dataset import Dataset
    from headstart.data.readers import read
    from headstart.evidence.evidence import Evidence
    from headstart.evidence.prove import prove
    from headstart.evidence.verdict import Verdict
    from headstart.ranking.rank import rank
    from headstart.steps.phase import Phase
    from headstart.transfer.plan import Plan
    from headstart.transfer.transfer import Transfer, TransferRegressor

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Dataset",
    "Evidence",
    "Phase",
    "Plan",
    "Transfer",
    "TransferRegressor",
    "Verdict",
    "__version__",
    "load",
    "prove",
    "rank",
    "read",
]

_HOMES = {
    "Bundle": "headstart.bundle.bundle",
    "Dataset": "headstart.data.dataset",
    "Evidence": "headstart.evidence.evidence",
    "Phase": "headstart.steps.phase",
    "Plan": "headstart.transfer.plan",
    "Transfer": "headstart.transfer.transfer",
    "TransferRegressor": "headstart.transfer.transfer",
    "Verdict": "headstart.evidence.verdict",
    "load": "headstart.bundle.load",
    "prove": "headstart.evidence.prove",
    "rank": "headstart.ranking.rank",
    "read": "headstart.data.readers",
}


if not TYPE_CHECKING:  # a type checker that saw it would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'headstart' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
