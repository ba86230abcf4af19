"""S20, guided: every parser of ours with changed files, chosen by the code they reach.

Needs atheris (`bench/requirements-fuzz.txt`). A parser is a process of its own, since libFuzzer
never gives one back: `python -m tests.faults.guided NAME WHOLE FOLDER SECONDS`. It writes what came
of the files to `FOLDER/told.json`. Nothing of Headstart is imported up here: what is to be watched
has to be imported while atheris looks on.
"""

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: An input that takes longer, or more memory, is a fault.
LONGEST_S, MOST_MB = 20, 4096
#: libFuzzer's line of how far it came: edges of the code, and how often each was passed.
REACHED = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+)", re.MULTILINE)


def is_there():
    """Return whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def guided(folder, seconds, only=""):
    """Change files of each format for so long; return what came of each, and the edges reached.

    Parameters
    ----------
    only
        The name of one of them; empty: all.
    """
    from tests.faults.fuzz import wholes

    (folder / "whole").mkdir(parents=True)
    wholes(folder / "whole")
    paths = sorted(path for path in (folder / "whole").iterdir() if only in ("", path.name))
    assert paths, f"there is no file {only}"
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each but waits for a process of its own
        return list(pool.map(lambda path: _guided(path, folder, seconds), paths))


def _guided(whole, folder, seconds):
    from tests.faults.mutants import Mutants

    own = folder / whole.name.replace(".", "-")
    own.mkdir()
    arguments = [whole.name, str(whole), str(own), f"{seconds:.0f}"]
    ended = subprocess.run(
        [sys.executable, "-m", __name__, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 300,
        check=False,
    )
    told = json.loads((own / "told.json").read_text(encoding="utf-8"))
    found = Mutants(whole.name, **told)
    if ended.returncode:  # it hung, took all memory, or died
        found.wrong.append(" ".join(ended.stderr.split())[-500:])
    reached = [(int(edges), what) for _, what, edges, _ in REACHED.findall(ended.stderr)]
    first = next((edges for edges, what in reached if what == "INITED"), 0)
    return found, first, max((edges for edges, _ in reached), default=0)


class Target:
    """One parser, and what came of the files it was given."""

    def __init__(self, read, path, folder, expected):
        self.read, self.path, self.expected = read, path, expected
        self.file = folder / "told.json"
        self.told = {"n": 0, "n_read": 0, "n_named": 0, "wrong": []}
        self.kinds, self.written = set(), 0.0

    def __call__(self, content):
        self.path.write_bytes(content)
        self.told["n"] += 1
        try:
            self.read()
            self.told["n_read"] += 1
        except self.expected:
            self.told["n_named"] += 1
        except BaseException as error:
            self._note(error)
        if time.monotonic() > self.written + 0.5:
            self.write()

    def _note(self, error):
        """Note an error that is not ours, once a place."""
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        kind = (type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        if kind not in self.kinds:
            self.kinds.add(kind)
            where = f"{Path(kind[1]).name}:{kind[2]}"
            self.told["wrong"].append(f"{type(error).__name__} at {where}: {error}"[:200])
            self.write()

    def write(self):
        self.file.write_text(json.dumps(self.told), encoding="utf-8")
        self.written = time.monotonic()


def main(name, whole, folder, seconds):
    """Change one file until the time is over; never returns."""
    import atheris

    whole, folder = Path(whole), Path(folder)
    path = folder / "now" / name
    path.parent.mkdir()
    path.write_bytes(whole.read_bytes())
    with atheris.instrument_imports(include=["headstart", "tomllib"]):
        from headstart.errors import HeadstartError
        from tests.faults.fuzz import changed, parser

        target = Target(parser(name, path), path, folder, HeadstartError)
        target(whole.read_bytes())  # imports what it needs
    target.write()

    def mutate(content, most, seed):
        # Half of them know of fields of 4 or 8 bytes, and of what they do not expect.
        if content and seed % 2:
            return changed(content, random.Random(seed))[:most]
        return atheris.Mutate(content, most)

    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / name).write_bytes(whole.read_bytes())
    most = max(4096, 4 * whole.stat().st_size)
    options = [f"-max_total_time={seconds}", f"-max_len={most}", f"-timeout={LONGEST_S}",
               f"-rss_limit_mb={MOST_MB}", f"-artifact_prefix={folder}/"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], target, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
