"""The pieces of work that are killed, by name: each the same when it is called again."""

import sys


def preload():
    """Read every heavy library, and compute nothing."""
    import joblib  # noqa: F401
    import onnxruntime  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import headstart.cli.app  # noqa: F401
    from headstart.extras import import_timm, import_transformers

    import_timm(), import_transformers()
    import transformers.models.bert.modeling_bert  # noqa: F401


def do(name, arguments):
    """Do a piece of work; return an exit code, or raise SystemExit as the command line does."""
    return WORKS[name](*arguments)


def command(*arguments):
    """The command line itself, with everything it says and every exit code it gives."""
    from headstart.cli.app import main

    sys.argv = ["headstart", *arguments]
    main()


def extract(source, table, shard_rows):
    """Features of every row of a table, in small shards."""
    from headstart.data.readers import read
    from headstart.features import extract as room
    from headstart.sources.catalog import resolve

    room.SHARD_ROWS = int(shard_rows)
    room.STRETCH_ROWS = 2 * room.SHARD_ROWS
    room.extract(resolve(source), read(table))


def rank(data, sources, out):
    """A ranking, written where the parent finds it."""
    from pathlib import Path

    from headstart.data.readers import read
    from headstart.io import write_json
    from headstart.ranking.rank import rank as ranked

    found = ranked(read(data), sources=sources.split(","))
    write_json(Path(out) / "ranking.json", found.to_json())


WORKS = {"command": command, "extract": extract, "rank": rank}
