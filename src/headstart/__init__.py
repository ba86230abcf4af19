"""Headstart: transfer learning, with proof.

The public names below are imported when they are first used, so that `import headstart` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.bundle import Bundle, load
    from headstart.data.dataset import Dataset
    from headstart.data.readers import read
    from headstart.steps.phase import Phase
    from headstart.transfer.plan import Plan
    from headstart.transfer.transfer import Transfer, TransferRegressor

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Dataset",
    "Phase",
    "Plan",
    "Transfer",
    "TransferRegressor",
    "__version__",
    "load",
    "read",
]

_HOMES = {
    "Bundle": "headstart.bundle",
    "Dataset": "headstart.data.dataset",
    "Phase": "headstart.steps.phase",
    "Plan": "headstart.transfer.plan",
    "Transfer": "headstart.transfer.transfer",
    "TransferRegressor": "headstart.transfer.transfer",
    "load": "headstart.bundle",
    "read": "headstart.data.readers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
