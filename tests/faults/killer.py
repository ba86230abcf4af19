"""R1: kill -9 at a random time, then the same command again, until it ends by itself."""

import hashlib
import json
import random
import shutil
import signal
import time
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tests.toys import toy_picture_source, toy_text_source

#: After so many kills a round is left to end; what it leaves is then compared.
KILLS_A_ROUND = 5


@dataclass
class Tally:
    """What came of the kills of one piece of work."""

    what: str
    n_kills: int = 0
    n_rounds: int = 0
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """A piece of work, and what tells whether two runs of it came to the same.

    Parameters
    ----------
    what
        For people.
    work, arguments
        What `work.py` does; "RUN" stands for the run's folder.
    result
        (home, run folder) → what must be equal, whatever was killed.
    """

    what: str
    work: str
    arguments: tuple
    result: object

    def start(self, server, home, run):
        """Begin it in a process of its own."""
        words = [str(run) if word == "RUN" else word for word in self.arguments]
        run.parent.mkdir(parents=True, exist_ok=True)
        return server.run(self.work, words, home, run.parent)


def killed(server, job, n_kills, folder, seed=0, ways=((signal.SIGKILL, -9),)):
    """Kill a job at random times until so many kills are done; compare every round's end.

    Every second round begins with compiled trunks, so that later steps are hit as often as they
    are without a kill.

    Parameters
    ----------
    server
        What forks.
    job
        What is killed.
    n_kills
        How often, at least.
    folder
        An empty folder to work in.
    seed
        Of the times.
    ways
        (signal, exit status), in turn.
    """
    chance, tally = random.Random(f"{seed} {job.what}"), Tally(job.what)
    expected, seconds = _whole(server, job, folder / "whole", None)
    warm = _compiled_only(folder / "whole" / "home")
    found, warm_seconds = _whole(server, job, folder / "warm", warm)
    assert found == expected, "two runs without a kill differ"
    while tally.n_kills < n_kills:
        is_warm = tally.n_rounds % 2 == 1
        at = _fresh(folder / f"round{tally.n_rounds}", warm if is_warm else None)
        longest = warm_seconds if is_warm else seconds
        try:
            left = n_kills - tally.n_kills
            tally.n_kills += _round(server, job, at, longest, chance, left, ways)
            found = job.result(at / "home", at / "run")
            if found != expected:
                tally.lost.append(
                    f"round {tally.n_rounds}: another result: {_differs(expected, found)}"
                )
        except (AssertionError, TimeoutError, OSError) as error:
            tally.lost.append(f"round {tally.n_rounds}: {error}")
        tally.n_rounds += 1
        shutil.rmtree(at, ignore_errors=True)
    return tally


def _round(server, job, at, seconds, chance, most, ways):
    """Kill and start again; then let it end. Return how many kills there were."""
    n_kills = 0
    while n_kills < min(KILLS_A_ROUND, most):
        child = job.start(server, at / "home", at / "run")
        number, status = ways[n_kills % len(ways)]
        # Before a handler is there to hear it, a signal ends a process in its own way.
        earliest = 0 if number == signal.SIGKILL else 0.3 * seconds
        if child.kill_after(chance.uniform(earliest, seconds), number):
            found = child.wait()
            assert found in (status, 0), f"{number!r}: exit {found}\n{child.said()[-2000:]}"
            n_kills += found == status
            continue
        assert child.wait() == 0, (
            f"after {n_kills} kills: exit {child.status}\n{child.said()[-2000:]}"
        )
        return n_kills
    child = job.start(server, at / "home", at / "run")
    assert child.wait() == 0, f"after {n_kills} kills: exit {child.status}\n{child.said()[-2000:]}"
    return n_kills


def _whole(server, job, at, warm):
    """Run a job without killing it; return what it came to, and how long it took."""
    at = _fresh(at, warm)
    began = time.perf_counter()
    child = job.start(server, at / "home", at / "run")
    assert child.wait() == 0, child.said()
    return job.result(at / "home", at / "run"), time.perf_counter() - began


def _compiled_only(home):
    """Take everything but compiled trunks out of a home."""
    from headstart.store.store import open_store

    for name in ("features", "rankings", "outcomes"):
        shutil.rmtree(home / name, ignore_errors=True)
    with open_store(f"sqlite:///{home / 'store.sqlite'}") as store:
        for shard in store.shards():
            store.drop_shard(shard.id)
        for study in store.studies():
            store.drop_study(study)
    return home


def _fresh(at, warm):
    at.mkdir(parents=True)
    if warm is not None:
        shutil.copytree(warm, at / "home")
    return at


def _differs(expected, found):
    if not isinstance(expected, dict):
        return f"{expected} ≠ {found}"
    names = sorted(expected.keys() | found.keys())
    return [name for name in names if expected.get(name) != found.get(name)][:5]


# -- what must be equal -------------------------------------------------------------------------


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model(_, run):
    """The hashes of a saved model's weights, after every byte was checked."""
    from headstart.io import verify_folder

    verify_folder(run / "model")
    leftovers = [path.name for path in run.rglob("*.tmp")]
    assert not leftovers, leftovers
    names = ("head.safetensors", "trunk.safetensors", "trunk.onnx")
    return {n: sha256(run / "model" / n) for n in names if (run / "model" / n).exists()}


def shards(home, _):
    """The hashes of all kept features, and that the store names each."""
    files = {p.name: sha256(p) for p in (home / "features").rglob("*") if p.is_file()}
    assert files and not any(name.endswith((".tmp", ".bad")) for name in files), files
    return files


def evidence(_, run):
    """What every fit of a proof said of the test rows, and the verdict."""
    from headstart.evidence.saved import kept

    found = kept(run)
    fits = {f"{o.arm} {o.seed} {o.n_rows}": o.outputs for o in found.outcomes}
    return fits | {"verdict": str(found.verdict), "reads": found.n_test_reads}


def ranking(_, run):
    """The order of the sources, and every score."""
    rows = json.loads((run / "ranking.json").read_text(encoding="utf-8"))["rows"]
    return {row["uri"]: [place, row["score"], row["by_boundary"]] for place, row in enumerate(rows)}


# -- what is killed -----------------------------------------------------------------------------


def material(folder):
    """Make toy sources and data; return the jobs that R1 kills, by name."""
    pets, table = pictures(folder / "pets"), texts(folder / "texts.csv")
    first = toy_picture_source(folder / "first")
    second = toy_picture_source(folder / "second", seed=1)
    encoder = toy_text_source(folder / "encoder")
    fit = ("fit", pets, "--source", first, "-o", "RUN", "-q")
    tuned = ("--finetune", "only:last:50%", "--epochs", "6")
    prove = ("prove", numbers(folder / "numbers.csv"), "--seeds", "2", "--budget", "none",
             "--out", "RUN", "--quiet")  # fmt: skip
    return {
        "probe": Job("fit, probe", "command", (*fit, "--finetune", "no"), model),
        "finetune": Job("fit, fine-tuned", "command", (*fit, *tuned), model),
        "prove": Job("prove", "command", prove, evidence),
        "rank": Job("rank", "rank", (pets, f"{first},{second}", "RUN"), ranking),
        "extract": Job("extract", "extract", (encoder, table, 32), shards),
    }


def pictures(folder, n=16):
    """Small pictures in two classes that differ a little in color; train and test."""
    chance = np.random.default_rng(0)
    for part, count in (("train", n), ("test", n // 2)):
        for label, color in (("red", (150, 110, 110)), ("blue", (110, 110, 150))):
            (folder / part / label).mkdir(parents=True)
            for i in range(count):
                noise = chance.integers(-90, 90, size=(40, 40, 3))
                pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{i}.png")
    return folder


def numbers(path, n=120):
    """A table of two columns and the class they decide, not always."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(n, 3))
    lines = [f"{a},{b},{'high' if a + b + c > 0 else 'low'}" for a, b, c in rows]
    path.write_text("a,b,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def texts(path, n=320):
    """A table of short texts with two labels."""
    chance = np.random.default_rng(0)
    words = ["cat", "dog", "red", "blue", "film", "the"]
    rows = [
        f"{'good' if i % 2 else 'bad'} {' '.join(chance.choice(words, 3 + i % 9))} {i},{i % 2}"
        for i in range(n)
    ]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path
