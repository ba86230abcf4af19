"""A PostgreSQL of our own: Debian's programs, an empty folder, a free port of the loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

#: Where Debian keeps the programs, the newest version last.
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def program(name):
    """Return the path of one of the server's programs, or skip the test."""
    found = shutil.which(name, path=os.pathsep.join([*map(str, DEBIAN[::-1]), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"no PostgreSQL here ({name} is missing): apt-get install postgresql")
    return found


def user():
    """The user that the server runs as: it refuses root, for whom Debian's package made one."""
    if os.geteuid():
        return {}
    import pwd

    try:
        return {"user": pwd.getpwnam("postgres").pw_uid, "group": pwd.getpwnam("postgres").pw_gid}
    except KeyError:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user 'postgres' here")


@contextlib.contextmanager
def server(folder):
    """Start a server with an empty database and yield its URL."""
    pytest.importorskip("psycopg")
    initdb, postgres, who = program("initdb"), program("postgres"), user()
    with contextlib.ExitStack() as stack:
        if who:  # its user may not look into the folders of ours
            folder = Path(stack.enter_context(_own_folder(who)))
        data = folder / "data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **who}
        subprocess.run(
            [initdb, "-D", data, "-U", "me", "-A", "trust", "--no-sync"], check=True, **quiet
        )
        port = _free_port()
        options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder]
        process = subprocess.Popen([postgres, *options, "-c", "fsync=off"], **quiet)
        try:
            _wait(port, process)
            yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def _own_folder(who):
    import tempfile

    with tempfile.TemporaryDirectory(prefix="headstart-pg-") as folder:
        os.chown(folder, who["user"], who["group"])
        yield folder


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait(port, process):
    import time

    import psycopg

    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "PostgreSQL did not start"
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="me", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL did not start within a minute"
            time.sleep(0.1)
