"""The command line: a file a verb in `verbs/`, no logic of its own.

Results go to stdout, progress and notes to stderr; `--json` prints one JSON document. Exit codes:
0 done, 1 failed, 2 usage, 3 data, 4 integrity, 5 resources, 6 transfer required but not best,
75 busy, 130 and 143 stopped by the user.
"""

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from headstart.cli import streams
from headstart.cli.verbs.cache import cache
from headstart.cli.verbs.demo import demo
from headstart.cli.verbs.doctor import doctor
from headstart.cli.verbs.fit import fit
from headstart.cli.verbs.predict import predict
from headstart.cli.verbs.prove import prove
from headstart.cli.verbs.rank import rank
from headstart.cli.verbs.report import report
from headstart.cli.verbs.sources import sources
from headstart.errors import HeadstartError, ResourceError
from headstart.stopping import Terminated, listen

#: What a shell gives a process that a signal ended.
INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    name="headstart",
    help="Transfer learning, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        from importlib.metadata import version

        from headstart.cli.show import out

        out(f"headstart {version('headstart')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Transfer learning, with proof."""
    if debug:
        os.environ["HEADSTART_DEBUG"] = "1"


for _verb in (fit, predict, rank, prove, report, sources, cache, doctor, demo):
    app.command()(_verb)


def main() -> None:
    """Run the command line; turn errors into a message and an exit code."""
    # Threads that wait should sleep: beside another busy program, spinning ones made training
    # ten times slower. It must be said before the first library that has such threads is read.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    listen()
    streams.ready()
    try:
        said = app(standalone_mode=False)
        sys.stdout.flush()  # what cannot be written is told here, not at the end of Python
        code = said if isinstance(said, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    except SystemExit as error:
        # Where the reader of results is gone, typer ends the process itself, as if it had failed.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        code = _drop_output(0)
    except BrokenPipeError:
        code = _drop_output(0)
    except Exception as error:
        code = _failed(error)
    if code in (INTERRUPTED, TERMINATED):
        _say("Stopped. What was finished is kept; the same command goes on from there.", code)
    sys.exit(code)


def _drop_output(code: int) -> int:
    """Let the results that nobody can be given go nowhere."""
    streams.lead_nowhere(sys.stdout.fileno())
    return code


def _failed(error: Exception) -> int:
    """Say what went wrong; the traceback before it, where that was asked for."""
    if os.environ.get("HEADSTART_DEBUG"):
        _say("".join(traceback.format_exception(error)), 1)
    if isinstance(error, HeadstartError):
        return _say(f"error: {error}", error.exit_code)
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # usage, in the words of typer
        error.show()
        return int(error.exit_code)
    if isinstance(error, OSError) and error.filename is not None:
        return _say(f"error: {error.filename}: {error.strerror}.\nIs the path right, and may you "
                    "read or write it?", _os_code(error))  # fmt: skip
    if isinstance(error, OSError) and _os_code(error) != 1:  # no file is named: it is a stream
        said = f"error: the results cannot be written: {error.strerror}.\nSend them elsewhere."
        return _drop_output(_say(said, _os_code(error)))
    if isinstance(error, MemoryError):
        return _say("error: out of memory.\nGive a smaller source, or fewer rows at a time.", 5)
    return _say(
        f"error: {type(error).__name__}: {error}\nThis is a fault of Headstart. "
        "`headstart --debug …` shows where; please report it.",
        1,
    )


def _os_code(error: OSError) -> int:
    """Return 5 where a disk is full, else 1."""
    return ResourceError.exit_code if error.errno in (errno.ENOSPC, errno.EDQUOT) else 1


def _say(text: str, code: int) -> int:
    from headstart.cli.show import err

    err(text)
    return code
