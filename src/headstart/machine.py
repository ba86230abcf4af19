"""The machine: where our files live, threads, seeds, versions, device, memory, space.

Nothing here imports torch unless an accelerator is in sight, or asked for.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import os
import platform
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from headstart.errors import UsageError

DEVICES = ("cpu", "cuda", "mps")

#: How many files a process may want to hold open at once.
MANY_FILES = 65_536

#: What file managers leave in a folder that a person looks into.
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")

#: What may change a result, in the order it is shown.
DISTRIBUTIONS = (
    "headstart",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "safetensors",
)


def home() -> Path:
    """Return the folder of caches and facts, made if need be.

    `HEADSTART_HOME` names it; otherwise it is `headstart` in the user's cache folder.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("HEADSTART_HOME") or Path(caches, "headstart"))
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # a "~" of a user without a home is the latter
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        raise UsageError(
            f"HEADSTART_HOME={str(folder)!r} cannot be made: {reason}.\n"
            "Expected a folder that you may write to: set HEADSTART_HOME to one."
        ) from error
    return folder.resolve()


def this_machine() -> str:
    """Return what tells this machine, since it was started, from all others: a line of text.

    Without /proc (macOS) that is its name alone, which it keeps when it is started again.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # A container has process numbers of its own.
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot = space = ""
    return f"{platform.node()} {boot} {space}".replace("\n", " ")


def name_of(machine: str) -> str:
    """Return what people call a machine that `this_machine` told of.

    >>> name_of("build-1 0d5c8a1e pid:[4026531836]"), name_of("  ")
    ('build-1', 'this machine')
    """
    return machine.partition(" ")[0] or "this machine"


def is_in_use(pid: int) -> bool:
    """Say whether a process of this machine has that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def n_threads() -> int:
    """Return how many threads to compute with: `HEADSTART_THREADS`, else the cores we may use."""
    asked = os.environ.get("HEADSTART_THREADS")
    if not asked:
        return max(1, min(_cores(), _cgroup_cores()))
    if not asked.isdecimal() or int(asked) < 1:
        raise UsageError(
            f"HEADSTART_THREADS={asked!r}; expected a number of threads from 1 up, for example 2."
        )
    return int(asked)


class _OneThread(contextlib.AbstractContextManager[None]):
    """One thread a call, from the first that enters until the last has left."""

    def __init__(self) -> None:
        self.inside, self.limit = 0, contextlib.ExitStack()
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Take another lock: in a forked process nobody would open one that was held."""
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit.enter_context(_limited())
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.limit.close()


_ONE_THREAD = _OneThread()


def one_thread() -> contextlib.AbstractContextManager[None]:
    """Let libraries of linear algebra use one thread a call; fits in several threads share it."""
    return _ONE_THREAD


def _limited() -> Any:
    # BLAS threads wait for each other inside every small product, and for other processes too:
    # on two busy cores that made the products of a fit 15 to 180 times slower.
    # Only libraries that are loaded can be limited, and SciPy brings a BLAS of its own.
    import scipy.linalg
    import scipy.optimize  # noqa: F401
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


@functools.cache
def allow_many_files() -> None:
    """Let this process hold as many files open as it may: each shard of features is one.

    The usual limit, 256 or 1,024, ends a fit of some ten thousand pictures with activations.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return
    with contextlib.suppress(OSError, ValueError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_cores() -> int:
    # A container may hold a share of a large machine: more threads than that only get in the way.
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        return sys.maxsize


def versions() -> dict[str, str]:
    """Return the installed version of Python and of each library that may change a result.

    >>> versions()["python"] == platform.python_version()
    True
    """
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def seeds(seed: int, *names: str) -> np.random.Generator:
    """Return the random stream of a named purpose; other names never disturb it.

    Examples
    --------
    >>> first, again, other = (int(seeds(0, name).integers(1 << 60)) for name in ("a", "a", "b"))
    >>> first == again, first == other
    (True, False)
    """
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()  # 8 words of 32 bits
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def whole(name: str, value: Any, least: int = 0) -> int:
    """Return a whole number that a person gave, NumPy's too, as Python's own.

    Raises
    ------
    UsageError
        Where it is none, or too small.

    Examples
    --------
    >>> whole("seed", np.int64(3))
    3
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name}={value!r}: expected a whole number from {least} up.")
    return int(value)


def device() -> str:
    """Return "cuda", "mps" or "cpu"; `HEADSTART_DEVICE` decides where it is set."""
    asked = os.environ.get("HEADSTART_DEVICE", "").lower()
    if asked and asked not in DEVICES:
        raise UsageError(
            f"HEADSTART_DEVICE={asked!r}; expected one of {', '.join(DEVICES)}, or leave it unset."
        )
    if asked in ("cuda", "mps"):
        return _checked_device(asked)
    return asked or (_best_device() if _accelerator_in_sight() else "cpu")


@functools.cache
def _checked_device(asked: str) -> str:
    import torch

    backends = {"cuda": torch.cuda, "mps": torch.backends.mps}
    if not backends[asked].is_available():
        raise UsageError(
            f"HEADSTART_DEVICE={asked!r}, but PyTorch {torch.__version__} finds none here.\n"
            "Expected a device of this machine: leave HEADSTART_DEVICE unset for the best one, "
            "or install a PyTorch built for it and its driver."
        )
    return asked


def _accelerator_in_sight() -> bool:
    # Asking torch costs seconds, and most machines have nothing to ask about.
    drivers = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    is_apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return is_apple or any(Path(driver).exists() for driver in drivers)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself (AVX-512 BF16 or AMX)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


def peak_memory_bytes() -> int:
    """Return the most memory this process has held at once, in bytes."""
    with contextlib.suppress(OSError):  # Linux alone has it
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    # What Linux says here begins at the peak of the process that started this one.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


#: How libraries say that memory ran out.
SHORTAGE = ("out of memory", "allocate memory", "bad_alloc", "bad allocation")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: Python's own, or that of a library.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("memory"))
    (True, False)
    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    # The errors of ONNX Runtime are kinds of no other.
    is_theirs = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    said = str(error).lower()
    return isinstance(error, MemoryError) or (is_theirs and any(word in said for word in SHORTAGE))


def resident_bytes() -> int:
    """Return the memory this process holds now, in bytes; its peak where only that is known."""
    with contextlib.suppress(OSError):  # Linux alone has it
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return peak_memory_bytes()


#: What glibc's `mallopt` calls its bounds, and what they are in a process that has run for a while.
_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1}


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed for the next that asks, until the end; then give all of it back.

    The tensors of a training step are larger than what glibc keeps: it maps each anew and unmaps
    it, and the system fills every page with zeros first, which takes as long as the arithmetic
    (NOTES.md of the bench). Other allocators, and a glibc that the user has tuned, are left alone.
    """
    tune = _mallopt()
    for name, value in _KEPT.items():
        tune(name, value)
    try:
        yield
    finally:
        for name, value in _USUAL.items():
            tune(name, value)
        if tune is not _left_alone:
            ctypes.CDLL(None).malloc_trim(0)


def _mallopt() -> Callable[[int, int], Any]:
    is_tuned = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if is_tuned or "LD_PRELOAD" in os.environ or platform.libc_ver()[0] != "glibc":
        return _left_alone
    return cast("Callable[[int, int], Any]", ctypes.CDLL(None).mallopt)


def _left_alone(name: int, value: int) -> None:
    """Take the place of `mallopt`."""


def free_space_bytes(path: Path) -> int:
    """Return the bytes free where `path` lies, or will lie."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free
