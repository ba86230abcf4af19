"""Caller: what names an estimator that is not Headstart's own.

Outcomes are kept under what they depend on. A caller edits the code of an estimator, in a notebook
with the same names, and gives parameters that a short text does not tell apart: so its code and its
parameters are named by their content.
"""

import dis
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from joblib.hashing import NumpyHasher
from sklearn.base import clone

from headstart.data.foreign import as_array

#: Values that code may refer to, and that do not change as it runs.
CONSTANTS = (bool, int, float, complex, str, bytes, type(None))

#: Where what a class holds under a name has its function: methods of classes, properties, caches.
HOLDERS = ("__func__", "fget", "fset", "func", "__wrapped__")

#: Steps of Python's machine that read a name of the module, that write to one, or to an attribute.
READS, WRITES, SETS = ("LOAD_GLOBAL",), ("STORE_GLOBAL", "STORE_DEREF"), ("STORE_ATTR",)


def is_own(estimator: Any) -> bool:
    """Say whether an estimator, and every one that it holds, is Headstart's own."""
    given = estimator.get_params(deep=True).values()
    held = [value for value in given if hasattr(value, "get_params")]
    return all(type(one).__module__.startswith("headstart.") for one in (estimator, *held))


def content(estimator: Any) -> str:
    """Return what names an estimator by what its code does and by what its parameters hold.

    Of what code refers to, functions, classes and constants count; what it writes to, and other
    values, are taken for its state. Installed packages are known by their names.

    Parameters
    ----------
    estimator
        Unfitted. One that cannot be named gets another name each time: it is fitted again.
    """
    try:
        unfitted = clone(estimator)  # as an arm is fitted, whatever it learned before
        return str(_Hasher().hash((type(unfitted), unfitted.get_params(deep=False))))
    except Exception:  # what cannot be pickled says so in any way
        return secrets.token_hex(16)


class _Hasher(NumpyHasher):
    """Hashes values as joblib does, and the caller's functions and classes by their code."""

    def __init__(self) -> None:
        super().__init__()
        self._met: set[int] = set()

    def save(self, obj: Any) -> None:
        """Add a value to what is hashed; code that refers to itself is added once."""
        if _is_code(obj):
            names, is_met = (obj.__module__, obj.__qualname__), id(obj) in self._met
            self._met.add(id(obj))
            parts = _of_class(obj) if isinstance(obj, type) else _of_function(obj)
            obj = names if is_met else (names, parts)
        super().save(as_array(obj) if hasattr(obj, "detach") else obj)  # a tensor has an address


def _is_code(value: Any) -> bool:
    """Say whether this is a function or a class of the caller, not of an installed package."""
    if not isinstance(value, type | FunctionType):
        return False
    module = str(value.__module__)
    if module.partition(".")[0] in {"headstart", *sys.stdlib_module_names}:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not {"site-packages", "dist-packages"} & {*Path(file).parts}


def _of_class(one: type) -> tuple[Any, ...]:
    """Return the bases of a class, its functions, and the constants that they do not write to."""
    held = {name: list(_functions(value)) for name, value in vars(one).items()}
    written = {name for each in held.values() for f in each for name in _names(f.__code__, SETS)}
    plain = {name: value for name, value in vars(one).items() if not name.startswith("__")}
    functions = {name: each for name, each in held.items() if each}
    return one.__bases__, functions, _counted(plain, written)


def _functions(value: Any) -> Iterator[FunctionType]:
    for each in (value, *(getattr(value, name, None) for name in HOLDERS)):
        if isinstance(each, FunctionType):
            yield each


def _of_function(one: FunctionType) -> tuple[Any, ...]:
    """Return the code of a function, its defaults, and what it refers to."""
    code, cells = one.__code__, one.__closure__ or ()
    named = {name: one.__globals__.get(name) for name in _names(code, READS)}
    around = {n: cell.cell_contents for n, cell in zip(code.co_freevars, cells, strict=True)}
    counted = _counted(named | around, _names(code, WRITES))
    return _of_code(code), one.__defaults__, one.__kwdefaults__, counted


def _counted(values: Mapping[str, Any], written: set[str]) -> dict[str, Any]:
    """Return the code and the constants among values that are not written to."""
    kept = {name: value for name, value in values.items() if name not in written}
    held = {name: value if _counts(value) else [*_functions(value)] for name, value in kept.items()}
    return {name: value for name, value in held.items() if _counts(value) or value}


def _counts(value: Any) -> bool:
    return _is_code(value) or _is_constant(value)


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return type(value) in CONSTANTS


def _names(code: CodeType, steps: tuple[str, ...]) -> set[str]:
    """Return the names that some kinds of steps are about, in functions inside as well."""
    own = {str(one.argval) for one in dis.get_instructions(code) if one.opname in steps}
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return own.union(*(_names(each, steps) for each in inner))


def _of_code(code: CodeType) -> tuple[Any, ...]:
    """Return what code does, wherever it stands: no line and no file is part of it."""
    constants = [_of_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    sets = [set(c) if isinstance(c, frozenset) else c for c in constants]  # hashed in order
    names = code.co_names, code.co_varnames, code.co_freevars
    return code.co_code, code.co_exceptiontable, names, sets
