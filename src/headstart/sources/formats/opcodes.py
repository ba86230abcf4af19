"""Opcodes: the tensors of a PyTorch file, read without unpickling it.

A pickle is a program: a list of opcodes for a small stack machine, whose GLOBAL imports anything
and whose REDUCE calls it. Here the list is taken apart (`pickletools` does that, and runs nothing)
and followed by a machine that knows only what a state dictionary needs: plain values, dictionaries,
and six names, which are never imported but stand for a tensor, a parameter, a dictionary. Any other
opcode or name is refused. Nothing that a file nested or doubled through the memo is ever hashed,
compared or shown: keys are plain, names are texts, a tensor's shape is numbers.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

#: The most opcodes that are followed; state dictionaries of 10,000 tensors have a tenth of it.
_OPCODES_MAX = 3_000_000

#: "torch FloatStorage" → the numbers it holds. bfloat16 has no type here: it is read as uint16.
STORAGES = {
    f"torch {name}Storage": np.dtype(kind)
    for name, kind in {
        "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "<u2", "Long": "<i8",
        "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?",
    }.items()
}  # fmt: skip
_BRAIN = "torch BFloat16Storage"
_TENSOR = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor")
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED = "collections OrderedDict"


class Refused(ValueError):
    """A pickle that holds more than tensors by name, or is no whole pickle."""


@dataclass(frozen=True)
class Name:
    """A name that the file would have imported; here it is only a name."""

    text: str


@dataclass(frozen=True)
class Storage:
    """Numbers that lie elsewhere in the file: their key, type and count."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class Strided:
    """A tensor: which numbers of a storage, in which shape and steps."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = (self.offset, *self.shape, *self.steps)
        is_plain = all(type(n) is int and 0 <= n < 2**48 for n in whole)
        if len(self.shape) != len(self.steps) or not is_plain:
            raise Refused("a tensor that reaches outside its numbers")

    @property
    def n_bytes(self) -> int:
        """What the tensor takes as an array of its own."""
        itemsize = 4 if self.storage.kind == _BRAIN else STORAGES[self.storage.kind].itemsize
        return math.prod(self.shape) * itemsize

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return the tensor as an array of its own; BF16 becomes float32, exactly.

        Raises
        ------
        Refused
            Where it reaches outside its numbers, or would be larger than they are.
        """
        size = math.prod(self.shape)
        reach = sum((n - 1) * step for n, step in zip(self.shape, self.steps, strict=True))
        if self.offset + (reach if size else -1) >= len(numbers) or size > len(numbers):
            raise Refused(f"a tensor of shape {self.shape} reaches outside its numbers")
        steps = [step * numbers.itemsize for step in self.steps]
        part = numbers[self.offset :]
        array = np.lib.stride_tricks.as_strided(part, self.shape, steps, writeable=False)
        if self.storage.kind == _BRAIN:
            return (array.astype(np.uint32) << 16).view(np.float32)
        return np.array(array, order="C")


def followed(file: IO[bytes]) -> Any:
    """Return the value that the pickle at this place of a file describes.

    Raises
    ------
    Refused
        Where it holds an opcode or a name that a state dictionary does not need.
    """
    machine = _Machine()
    try:
        for n, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if n > _OPCODES_MAX:
                raise Refused("it never ends")
            machine.follow(opcode.name, argument)
        return machine.stack[-1]
    except Refused:
        raise
    except Exception as error:  # a broken list of opcodes breaks the machine in many ways
        raise Refused(f"it is damaged ({type(error).__name__}: {error})") from error


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)  # how high the stack was at each mark
    memo: dict[int, Any] = field(default_factory=dict)

    def follow(self, name: str, argument: Any) -> None:
        """Do what one opcode says, if it may be done."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MAKERS:
            self.stack.append(_MAKERS[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name not in _IGNORED:
            raise Refused(f"the opcode {name}")

    def marked(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        at = self.marks.pop()
        taken = self.stack[at:]
        del self.stack[at:]
        return taken

    def keep(self, at: int | None) -> None:
        """Remember the top under a number."""
        self.memo[len(self.memo) if at is None else at] = self.stack[-1]

    def tuple_of(self, n: int) -> None:
        """Put the last values into a tuple."""
        taken = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        self.stack.append(taken)

    def extend(self, taken: list[Any]) -> None:
        """Put values into the list below them."""
        _plain(self.stack[-1], list).extend(taken)

    def set_item(self) -> None:
        """Put a name and a value into the dictionary below them."""
        value, name = self.stack.pop(), self.stack.pop()
        self.set_items([name, value])

    def set_items(self, taken: list[Any]) -> None:
        """Put names and values into the dictionary below them."""
        names = [_plain(name, str, int) for name in taken[::2]]
        _plain(self.stack[-1], dict).update(zip(names, taken[1::2], strict=True))

    def call(self) -> None:
        """Stand in for a call: of the names a state dictionary needs, and no other."""
        arguments, called = self.stack.pop(), self.stack.pop()
        name = called.text if isinstance(called, Name) else repr(type(called))
        if name in _TENSOR:
            storage, offset, shape, steps = arguments[:4]
            shape, steps = _plain(shape, tuple), _plain(steps, tuple)
            made: Any = Strided(_plain(storage, Storage), offset, shape, steps)
        elif name == _PARAMETER:
            made = _plain(arguments[0], Strided)
        elif name == _ORDERED and not arguments:
            made = {}
        else:
            raise Refused(f"a call of {name}")
        self.stack.append(made)

    def build(self) -> None:
        """Leave out the state of a dictionary: `_metadata`, the versions of its modules."""
        self.stack.pop()
        _plain(self.stack[-1], dict)

    def global_of(self) -> None:
        """Put a name that was spelled on the stack."""
        name, module = _plain(self.stack.pop(), str), _plain(self.stack.pop(), str)
        self.stack.append(_name(f"{module} {name}"))

    def storage(self) -> None:
        """Put where numbers lie: ("storage", type, key, device, count, …)."""
        word, kind, key, _, count, *view = _plain(self.stack.pop(), tuple)
        if word != "storage" or view not in ([], [None]) or type(count) is not int:
            raise Refused("something that is not a tensor's numbers")
        if (name := _plain(kind, Name).text) not in STORAGES:
            raise Refused(f"numbers of an unknown type, {name}")
        self.stack.append(Storage(str(_plain(key, str, int)), name, count))


def _name(text: str) -> Name:
    if text not in STORAGES and text not in (*_TENSOR, _PARAMETER, _ORDERED):
        raise Refused(f"the name {text.replace(' ', '.')}")
    return Name(text)


def _plain(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise Refused(f"a {type(value).__name__} where a {expected} was expected")
    return value


_IGNORED = {"PROTO", "FRAME", "STOP"}
_VALUES = {
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1",
    "BINFLOAT",
}  # fmt: skip
_MAKERS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
}  # fmt: skip
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": lambda machine, text: machine.stack.append(_name(text)),
    "STACK_GLOBAL": lambda machine, _: machine.global_of(),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "BINPUT": lambda machine, at: machine.keep(at),
    "LONG_BINPUT": lambda machine, at: machine.keep(at),
    "MEMOIZE": lambda machine, _: machine.keep(None),
    "BINGET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "LONG_BINGET": lambda machine, at: machine.stack.append(machine.memo[at]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_item(),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "BINPERSID": lambda machine, _: machine.storage(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}
