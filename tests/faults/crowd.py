"""R5, R15, R16: many processes at one store, one run folder, one study; some are killed."""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from dataclasses import dataclass, field

#: Forked, not spawned: a process of a tenth of a second each.
PROCESSES = multiprocessing.get_context("fork")


@dataclass
class Crowd:
    """What came of many at once."""

    what: str
    n: int = 0
    n_kills: int = 0
    wrong: list[str] = field(default_factory=list)


def _open(folder):
    from headstart.store.store import open_store

    return open_store(f"sqlite:///{folder / 'store.sqlite'}")


def claims(folder, n_processes, n_jobs):
    """Let processes take jobs of one study; each job must have one taker."""
    folder.mkdir(parents=True, exist_ok=True)
    told, gate = PROCESSES.Queue(), PROCESSES.Event()
    workers = [
        PROCESSES.Process(target=_claim, args=(folder, n_jobs, i, told, gate))
        for i in range(n_processes)
    ]
    for worker in workers:
        worker.start()
    found = [told.get(timeout=300) for _ in workers]
    gate.set()
    for worker in workers:
        worker.join(60)
    crowd = Crowd("claims", n_processes * n_jobs)
    crowd.wrong += [said for said in found if isinstance(said, str)]
    taken = sorted(job for said in found if not isinstance(said, str) for job in said)
    if taken != sorted(map(str, range(n_jobs))):
        crowd.wrong.append(f"{len(taken)} taken, {len(set(taken))} of them different, of {n_jobs}")
    return crowd


def _claim(folder, n_jobs, seed, told, gate):
    from headstart.store.leases import Leases

    try:
        order = list(map(str, range(n_jobs)))
        random.Random(seed).shuffle(order)
        with _open(folder) as store, Leases(store, "study") as leases:
            told.put([job for job in order if leases.take(job)])
            gate.wait(300)  # nothing is given back before all have tried
    except BaseException as error:
        told.put(f"{type(error).__name__}: {error}")


def writers(folder, n_kills, seed=0):
    """Kill writers of one store at random times; what they said is written must be there."""
    folder.mkdir(parents=True, exist_ok=True)
    _open(folder).close()
    chance, crowd = random.Random(seed), Crowd("writers")
    said, begun = {}, 0
    while crowd.n_kills < n_kills:
        pipes = []
        for name in range(2):
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(read)
                _write_until_killed(folder, f"{begun}-{name}", write)
            os.close(write)
            pipes.append((pid, read, f"{begun}-{name}"))
        begun += 1
        time.sleep(chance.uniform(0.05, 0.25))
        for pid, read, name in pipes:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            crowd.n_kills += 1
            with os.fdopen(read, "rb") as told:
                said[name] = told.read().split(b"\n")[:-1]
        crowd.wrong += [text.decode() for lines in said.values() for text in lines if b"!" in text]
    with _open(folder) as store:
        store.check()
        for name, lines in said.items():
            kept = store.outcomes(name)
            lost = [line for line in lines if line.decode() not in kept]
            crowd.n += len(lines)
            if lost:
                crowd.wrong.append(f"writer {name}: {len(lost)} of {len(lines)} were lost")
    return crowd


def _write_until_killed(folder, name, told):
    try:
        with _open(folder) as store:
            for i in range(100_000):
                store.put_outcome(name, str(i), {"i": i})
                os.write(told, f"{i}\n".encode())
                store.outcomes(name)
    except BaseException as error:
        os.write(told, f"!{type(error).__name__}: {error}\n".encode())
    os._exit(1)


def owners(folder, n_races, seed=0):
    """Let processes open one run folder at once; one gets it, the others are told who it is."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, crowd = random.Random(seed), Crowd("owners")
    for race in range(n_races):
        # Pipes, not the locks of multiprocessing: who is killed would take one along.
        (told, tell), (gate, shut) = os.pipe(), os.pipe()
        racers = [_forked(_own, folder / "run", tell, gate, shut) for _ in range(3)]
        os.close(tell)
        os.close(gate)
        found = _lines(told, len(racers))
        winners = [pid for pid, said in found if said == "mine"]
        crowd.n += 1
        if len(winners) != 1:
            crowd.wrong.append(f"race {race}: {len(winners)} owners, {found}")
        for pid, said in found:
            if said != "mine" and not (said.startswith("75 ") and str(winners[0]) in said):
                crowd.wrong.append(f"race {race}: {pid} was told {said!r}")
        if chance.random() < 0.5 and winners:
            os.kill(winners[0], signal.SIGKILL)
            crowd.n_kills += 1
        os.close(shut)
        for racer in racers:
            os.waitpid(racer, 0)
        os.close(told)
    from headstart.runs import Run

    with Run(folder / "run"):  # nothing is left that would keep the next one out
        return crowd


def _forked(work, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    return pid


def _lines(told, n):
    """Read so many lines "PID WORDS" from a pipe."""
    text = b""
    while text.count(b"\n") < n and (more := os.read(told, 4096)):
        text += more
    parts = [line.partition(" ") for line in text.decode().splitlines()]
    return [(int(pid), said) for pid, _, said in parts]


def _own(folder, tell, gate, shut):
    from headstart.errors import Busy
    from headstart.runs import Run

    os.close(shut)
    try:
        with Run(folder):
            os.write(tell, f"{os.getpid()} mine\n".encode())
            os.read(gate, 1)  # until the other end is closed
    except Busy as error:
        said = str(error).replace("\n", " ")
        os.write(tell, f"{os.getpid()} {error.exit_code} {said}\n".encode())
    except BaseException as error:
        os.write(tell, f"{os.getpid()} {type(error).__name__}: {error}\n".encode())


def reclaims(folder, n_kills):
    """Kill the doers of jobs; each job is done once at the end, by whoever comes next."""
    folder.mkdir(parents=True, exist_ok=True)
    crowd = Crowd("reclaims")
    _open(folder).close()
    n_jobs = n_kills + 2
    while crowd.n_kills < n_kills:
        doer = PROCESSES.Process(target=_do_and_hang, args=(folder, n_jobs))
        doer.start()
        _wait_for_lease(folder)
        os.kill(doer.pid, signal.SIGKILL)
        doer.join()
        crowd.n_kills += 1
    from headstart.jobs import run

    with _open(folder) as store:
        found = run({str(i): i for i in range(n_jobs)}, _square, study="study", store=store)
        crowd.n = len(found)
        if found != {str(i): _square(i) for i in range(n_jobs)}:
            crowd.wrong.append("an outcome is missing or wrong")
    with sqlite3.connect(folder / "store.sqlite") as link:
        (left,) = link.execute("SELECT count(*) FROM leases").fetchone()
    link.close()
    if left:
        crowd.wrong.append(f"{left} leases of the dead are left")
    return crowd


def _square(n):
    return {"square": n * n}


def _do_and_hang(folder, n_jobs):
    """Do one job, then take the next and never end it."""
    from headstart.store.leases import Leases

    with _open(folder) as store, Leases(store, "study") as leases:
        done = store.outcomes("study")
        left = [str(i) for i in range(n_jobs) if str(i) not in done]
        leases.take(left[0])
        store.put_outcome("study", left[0], _square(int(left[0])))
        leases.give_back(left[0])
        leases.take(left[-1])
        (folder / "held").touch()
        time.sleep(60)


def _wait_for_lease(folder):
    deadline = time.monotonic() + 60
    while not (folder / "held").exists():
        assert time.monotonic() < deadline, "no lease was taken"
        time.sleep(0.005)
    (folder / "held").unlink()
