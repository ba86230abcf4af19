"""Registry: a name becomes a thing, ours or one that an installed package brings."""

import difflib
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from headstart.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things by name: our own, then those of entry points. Nothing is imported before it is asked.

    Parameters
    ----------
    group
        The group of entry points, "headstart.heads".
    own
        Our own, which no package can shadow: name → "module:attribute", or the thing itself.

    Examples
    --------
    >>> import math
    >>> numbers = Registry("headstart.numbers", {"pi": "math:pi", "two": 2})
    >>> numbers.get("two"), numbers.get("pi") == math.pi, numbers.names()
    (2, True, ('pi', 'two'))
    """

    def __init__(self, group: str, own: Mapping[str, str | T] | None = None) -> None:
        self.group = group
        self._own: dict[str, Any] = dict(own or {})

    def add(self, name: str, thing: T) -> T:
        """Put `thing` under `name` for this process, and return it."""
        if name in self._own:
            raise UsageError(f"{self._what} {name!r} exists already; expected a name of its own.")
        self._own[name] = thing
        return thing

    def get(self, name: str) -> T:
        """Return what `name` stands for."""
        if name in self._own:
            return cast(T, _loaded(self._own[name]))
        for entry in self._entries():
            if entry.name == name:
                return cast(T, entry.load())
        raise UsageError(self._unknown(name))

    def names(self) -> tuple[str, ...]:
        """Return every name, sorted."""
        return tuple(sorted({*self._own, *(entry.name for entry in self._entries())}))

    @property
    def _what(self) -> str:
        return self.group.rpartition(".")[2].removesuffix("s")

    def _entries(self) -> importlib.metadata.EntryPoints:
        return importlib.metadata.entry_points(group=self.group)

    def _unknown(self, name: str) -> str:
        names = self.names()
        nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        guess = f"\nDid you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        return f"{self._what}={name!r} is unknown; expected one of {', '.join(names)}.{guess}"


def _loaded(thing: Any) -> Any:
    if not isinstance(thing, str):
        return thing
    module, _, attribute = thing.partition(":")
    return getattr(importlib.import_module(module), attribute)
