"""The door: only io.py and a lock open files for writing, and nothing unpickles or runs text.

Read off the syntax tree of every file of the package, so that a new file is held to it as well.
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headstart"
FILES = sorted(SOURCE.rglob("*.py"))

#: The only files that may write: what a lock says is for people, and no part of what is kept. A
#: database writes its own files, through `store.py`.
DOOR = {"io.py", "lock.py"}
#: Methods of paths and archives that write.
METHODS = {
    "write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "extractall", "tofile",
    "to_csv", "to_parquet", "to_pickle", "savetxt", "savez", "savez_compressed", "save_file",
}  # fmt: skip
#: module → functions of it that write.
FUNCTIONS = {
    "np": {"save"}, "numpy": {"save"}, "torch": {"save"}, "onnx": {"save", "save_model"},
    "json": {"dump"}, "joblib": {"dump"}, "shutil": {
        "copy", "copy2", "copyfile", "copytree", "move", "unpack_archive"},
    "os": {"link", "symlink", "rename", "replace", "mkfifo", "truncate"},
}  # fmt: skip
#: Modules whose every use is a pickle, or text that becomes code.
PICKLES = {
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "yaml", "runpy",
}  # fmt: skip
#: module → functions that unpickle, or run what a file says.
UNPICKLES = {
    "torch": {"load"}, "joblib": {"load"}, "pd": {"read_pickle"}, "pandas": {"read_pickle"},
}  # fmt: skip
#: Built-in functions that run text.
RUNS = {"eval", "exec", "compile", "__import__"}
READING = {"r", "rb", "rt", "br"}


def modules(tree):
    """Every module that is imported anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def called(node):
    """("np", "save") of `np.save(…)`, ("", "open") of `open(…)`, (None, "x") of `a().x(…)`."""
    if isinstance(node.func, ast.Name):
        return "", node.func.id
    if isinstance(node.func, ast.Attribute):
        value = node.func.value
        return (value.id if isinstance(value, ast.Name) else None), node.func.attr
    return None, ""


def mode(node, place):
    """The mode a file is opened with; None where it cannot be read off the call."""
    given = [word.value for word in node.keywords if word.arg == "mode"]
    given += node.args[place : place + 1]
    if not given:
        return "r"
    return given[0].value if isinstance(given[0], ast.Constant) else None


def is_writing(node):
    """Whether a call writes to a file, or might."""
    module, name = called(node)
    if name == "open" and module == "":
        return mode(node, 1) not in READING
    if name == "open" and isinstance(mode(node, 0), str):
        return bool(set("wax+") & set(mode(node, 0))) and mode(node, 0).isascii()
    if name == "File":  # h5py
        return mode(node, 1) not in READING
    is_method = name in METHODS and (module != "" or name == "save_file")
    return is_method or name in FUNCTIONS.get(module, ())


def is_unpickling(node):
    """Whether a call could turn the bytes of a file into objects or code."""
    module, name = called(node)
    allows = any(
        word.arg in ("allow_pickle", "trust_remote_code")
        and not (isinstance(word.value, ast.Constant) and word.value.value is False)
        for word in node.keywords
    )
    loads_arrays = module in ("np", "numpy") and name == "load"
    is_bare = loads_arrays and not any(word.arg == "allow_pickle" for word in node.keywords)
    runs = module == "" and name in RUNS
    return allows or is_bare or runs or name in UNPICKLES.get(module, ())


def offences(path, text):
    """What a file does that is not allowed, a sentence each."""
    tree = ast.parse(text)
    for line, module in modules(tree):
        if module.split(".")[0] in PICKLES:
            yield f"{path}:{line}: imports {module}"
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if is_unpickling(node):
            yield f"{path}:{node.lineno}: {ast.unparse(node)[:60]} could run what a file says"
        if is_writing(node) and str(path) not in DOOR:
            yield f"{path}:{node.lineno}: {ast.unparse(node)[:60]} writes; use headstart.io"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_io_writes_and_nothing_unpickles(path):
    text = path.read_text(encoding="utf-8")
    assert list(offences(path.relative_to(SOURCE), text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "open(path, mode)",
        "open(path, mode='ab')",
        "path.open('wb')",
        "path.open(mode='r+b')",
        "(folder / 'x').write_text('')",
        "path.write_bytes(b'')",
        "path.touch()",
        "np.save(path, array)",
        "torch.save(state, path)",
        "save_file(state, path)",
        "safetensors.torch.save_file(state, path)",
        "array.tofile(path)",
        "json.dump(values, file)",
        "shutil.copyfile(a, b)",
        "archive.extractall(folder)",
        "h5py.File(path, 'w')",
        "import pickle",
        "from cloudpickle import loads",
        "import yaml",
        "torch.load(path, weights_only=True)",
        "joblib.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=flag)",
        "eval(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_door_is_shut(line):
    assert list(offences(Path("heads/head.py"), line))


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "open(path, 'rb')",
        "path.open('rb')",
        "cache.open(shard)",
        "sealed.open(store, by)",
        "np.load(path, mmap_mode='r', allow_pickle=False)",
        "h5py.File(path, 'r')",
        "write_text(path, text)",
        "re.compile(pattern)",
    ],
)
def test_what_is_allowed(line):
    assert list(offences(Path("heads/head.py"), line)) == []


def test_io_itself_writes():
    assert any(
        "writes" in said for said in offences(Path("other.py"), (SOURCE / "io.py").read_text())
    )
