"""A server that forks: children begin with every heavy library read, so that a kill costs little.

    with Server() as server:
        child = server.run("fit", ["…"], home=…)
        child.kill_after(0.3); child.wait()

The server reads a line of JSON a child and answers with its process number, then, when the child
has ended, with its status. It computes nothing itself: a fork of a process whose libraries have
started threads would hang.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Child:
    """A process that was forked for us."""

    def __init__(self, pid, errors):
        self.pid, self.errors = pid, errors
        self.status = None
        self._ended = threading.Event()

    def send(self, number):
        """Send a signal to the process and to all that it started."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def kill_after(self, seconds, number=signal.SIGKILL):
        """Wait so long, then send a signal; say whether the process was still there."""
        is_over = self._ended.wait(seconds)
        if not is_over:
            self.send(number)
        return not is_over

    def wait(self, seconds=120):
        """Wait for the end; return the exit status, negative for a signal."""
        if not self._ended.wait(seconds):
            self.send(signal.SIGKILL)
            raise TimeoutError(f"{self.pid} did not end in {seconds} s: {self.said()}")
        return self.status

    def said(self):
        """What it wrote to stderr."""
        return Path(self.errors).read_text(encoding="utf-8", errors="replace")


class Server:
    """The forking process, as long as the `with` block lasts.

    Parameters
    ----------
    module
        What the children do: a module with `preload()` and `do(name, arguments)`.
    python
        The interpreter.
    env
        What the children find in their environment, too.
    """

    def __init__(self, module="tests.faults.work", python=sys.executable, **env):
        self.module, self.python, self.env = module, python, env

    def __enter__(self):
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        env = {**os.environ, "PYTHONPATH": paths, **self.env}
        self.process = subprocess.Popen(
            [self.python, "-m", "tests.faults.server", self.module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env,
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n"
        self.children, self.started = {}, []
        self.answered = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        for child in self.children.values():
            if child.status is None:
                child.send(signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def run(self, work, arguments, home, folder, **env):
        """Start a piece of work of `work.py` in a process of its own."""
        errors = Path(folder) / "stderr.txt"
        asked = {
            "work": work, "arguments": [str(a) for a in arguments], "errors": str(errors),
            "env": {"HEADSTART_HOME": str(home), **env}, "folder": str(folder),
        }  # fmt: skip
        with self.answered:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            assert self.answered.wait_for(lambda: self.started, 30), "the server does not answer"
            child = self.started.pop()
            child.errors = errors
            return child

    def _listen(self):
        for line in self.process.stdout:
            pid, status = json.loads(line)
            with self.answered:
                if status is None:
                    self.children[pid] = Child(pid, "")
                    self.started.append(self.children[pid])
                else:
                    self.children[pid].status = status
                    self.children[pid]._ended.set()
                self.answered.notify_all()


def serve():
    """Fork a child for every line that comes."""
    importlib.import_module(sys.argv[1]).preload()
    answer(None, None, "ready\n")
    threads_free = threading.active_count() == 1
    assert threads_free, "a library started threads while it was read"
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(asked)
        answer(pid, None)
        threading.Thread(target=_await, args=(pid,), daemon=True).start()


_writing = threading.Lock()


def answer(pid, status, text=None):
    with _writing:
        sys.stdout.write(text or json.dumps([pid, status]) + "\n")
        sys.stdout.flush()


def _await(pid):
    _, status = os.waitpid(pid, 0)
    answer(pid, os.waitstatus_to_exitcode(status))


def _child(asked):
    os.setsid()
    os.environ.update(asked["env"])
    os.chdir(asked["folder"])
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(asked["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for place, handle in ((0, null), (1, null), (2, errors)):
        os.dup2(handle, place)
    code = 1
    try:
        code = importlib.import_module(sys.argv[1]).do(asked["work"], asked["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    serve()
