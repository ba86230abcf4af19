"""Caller: what names an estimator that is not Headstart's own.

Outcomes are kept under what they depend on. A caller edits the code of an estimator, in a notebook
with the same names, and gives parameters that a short text does not tell apart: so its code and its
parameters are named by their content.
"""

import dis
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from joblib.hashing import NumpyHasher
from sklearn.base import clone

from headstart.data.foreign import as_array

#: Values that code may refer to, and that do not change as it runs; and what may hold them.
CONSTANTS = (bool, int, float, complex, str, bytes, type(None))
CONTAINERS = (tuple, list, set, frozenset, dict)

#: What changes a list, a set or a dictionary where it stands.
CHANGES = {*dir(list), *dir(set), *dir(dict)} - {*dir(tuple), *dir(frozenset), *dir(Mapping)}

#: Where what a class holds under a name has its function: methods of classes, properties, caches.
HOLDERS = ("__func__", "fget", "fset", "func", "__wrapped__")

#: Steps of Python's machine that read a name of the module, that write to one, or to an attribute.
READS, WRITES, SETS = ("LOAD_GLOBAL",), ("STORE_GLOBAL", "STORE_DEREF"), ("STORE_ATTR",)

#: Steps that read an attribute, and that write to what stands at an index.
ASKS, INDEXES = ("LOAD_ATTR", "LOAD_METHOD"), ("STORE_SUBSCR", "DELETE_SUBSCR")


def is_own(estimator: Any) -> bool:
    """Say whether an estimator, and every one that it holds, is Headstart's own."""
    given = estimator.get_params(deep=True).values()
    held = [value for value in given if hasattr(value, "get_params")]
    return all(type(one).__module__.startswith("headstart.") for one in (estimator, *held))


def content(estimator: Any) -> str:
    """Return what names an estimator by what its code does and by what its parameters hold.

    Of what code refers to, in its own module or in others of the caller, functions, classes and
    constants count, and lists, sets and dictionaries of these; what it writes to or changes, and
    other values, are taken for its state. Installed packages are known by their names.

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
        elif isinstance(obj, frozenset):
            obj = set(obj)  # which is hashed in order
        super().save(as_array(obj) if hasattr(obj, "detach") else obj)  # a tensor has an address


def _is_code(value: Any) -> bool:
    """Say whether this is a function or a class of the caller."""
    return isinstance(value, type | FunctionType) and _is_of_caller(str(value.__module__))


def _is_module(value: Any) -> bool:
    return isinstance(value, ModuleType) and _is_of_caller(value.__name__)


def _is_of_caller(module: str) -> bool:
    """Say whether a module is the caller's, not one of an installed package."""
    if module.partition(".")[0] in {"headstart", *sys.stdlib_module_names}:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not {"site-packages", "dist-packages"} & {*Path(file).parts}


def _of_class(one: type) -> tuple[Any, ...]:
    """Return the bases of a class, its functions, and the constants that they do not write to."""
    held = {name: list(_functions(value)) for name, value in vars(one).items()}
    codes = [f.__code__ for each in held.values() for f in each]
    plain = {name: value for name, value in vars(one).items() if not name.startswith("__")}
    functions = {name: each for name, each in held.items() if each}
    return one.__bases__, functions, _counted(plain, codes, SETS)


def _functions(value: Any) -> Iterator[FunctionType]:
    for each in (value, *(getattr(value, name, None) for name in HOLDERS)):
        if isinstance(each, FunctionType):
            yield each


def _of_function(one: FunctionType) -> tuple[Any, ...]:
    """Return the code of a function, its defaults, and what it refers to."""
    code, cells = one.__code__, one.__closure__ or ()
    named = {name: one.__globals__.get(name) for name in _names(code, READS)}
    around = {n: cell.cell_contents for n, cell in zip(code.co_freevars, cells, strict=True)}
    known = named | around
    counted = _counted(known, [code], WRITES) | _of_modules(known.values(), code)
    return _of_code(code), one.__defaults__, one.__kwdefaults__, counted


def _of_modules(values: Iterable[Any], code: CodeType) -> dict[str, Any]:
    """Return what code refers to in modules of the caller, and in modules that they hold."""
    asked, found = _names(code, ASKS), dict[str, Any]()
    modules = [one for one in values if _is_module(one)]
    for module in modules:  # those that it holds come behind it
        held = {name: value for name, value in vars(module).items() if name in asked}
        modules += [one for one in held.values() if _is_module(one) and one not in modules]
        counted = _counted(held, [code], SETS)
        found |= {f"{module.__name__}.{name}": value for name, value in counted.items()}
    return found


def _counted(
    values: Mapping[str, Any], codes: Sequence[CodeType], writes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the code and the constants among values that are not written to, nor changed."""
    written = {name for code in codes for name in _names(code, writes)}
    changed = {name for code in codes for name in _changed(code)}
    written |= {name for name in changed if isinstance(values.get(name), CONTAINERS)}
    kept = {name: value for name, value in values.items() if name not in written}
    held = {name: value if _counts(value) else [*_functions(value)] for name, value in kept.items()}
    return {name: value for name, value in held.items() if _counts(value) or value}


def _counts(value: Any) -> bool:
    """Say whether a value is code of the caller or a constant, or holds nothing else."""
    if isinstance(value, dict):
        return all(map(_counts, (*value, *value.values())))
    if isinstance(value, CONTAINERS):
        return all(map(_counts, value))
    return _is_code(value) or type(value) in CONSTANTS


def _steps(code: CodeType) -> Iterator[dis.Instruction]:
    """Yield the steps of code, those of functions inside as well."""
    yield from dis.get_instructions(code)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _steps(each)


def _names(code: CodeType, kinds: tuple[str, ...]) -> set[str]:
    """Return the names that some kinds of steps are about."""
    return {str(one.argval) for one in _steps(code) if one.opname in kinds}


def _changed(code: CodeType) -> set[str]:
    """Return the names of what may be changed where it stands.

    In `seen["a"].append(1)` what is changed, and what changes it, begin at the same letter.
    """
    asks = [one for one in _steps(code) if one.opname in ASKS and one.argval in CHANGES]
    indexes = [one for one in _steps(code) if one.opname in INDEXES]
    starts = {_start(one) for one in (*asks, *indexes)}
    loads = [one for one in _steps(code) if one.opname in (*READS, "LOAD_DEREF", *ASKS)]
    return {str(one.argval) for one in loads if _start(one) in starts}


def _start(step: dis.Instruction) -> tuple[int | None, int | None]:
    """Return the line and the column where the text of a step begins."""
    at = step.positions or dis.Positions()
    return at.lineno, at.col_offset


def _of_code(code: CodeType) -> tuple[Any, ...]:
    """Return what code does, wherever it stands: no line and no file is part of it."""
    constants = [_of_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    names = code.co_names, code.co_varnames, code.co_freevars
    return code.co_code, code.co_exceptiontable, names, constants
