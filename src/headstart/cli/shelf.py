"""The shelf on the command line: listed, shown one by one, added to, searched."""

from dataclasses import asdict

from headstart.cli import show
from headstart.errors import UsageError


def whole(json: bool) -> None:
    """Print the shelf."""
    from headstart.sources.catalog import shelf

    found = [show.shelved(entry) for entry in shelf()]
    show.as_json(found) if json else show.shelf(found)


def one(uri: str, json: bool) -> None:
    """Print the card of one source, and its stages."""
    from headstart.sources.catalog import resolve

    card = show.card(resolve(uri))
    show.as_json(card) if json else show.fields(card)


def add(uri: str, json: bool) -> None:
    """Put a source on the shelf."""
    from headstart.sources.catalog import add as put

    made = put(uri)
    source, card, sha256 = made.source, made.card, made.source.weights_sha256
    if json:
        facts = {"uri": source.uri, "card": str(card), "sha256": sha256}
        return show.as_json(facts | {"before": made.before or None})
    show.out(f"added      {source.uri}\ncard       {card}\nsha256     {sha256}")
    if source.uri.startswith("pkg:"):
        return show.out("It was on the shelf already; set license or prior in its card.")
    if made.was_there:
        return show.out("It was on the shelf already, with these weights; its card is as it was.")
    if made.before:
        show.out(f"It was on the shelf with other weights, {made.before}; they are refused now.")
    show.out("`rank` and `--source auto` now try it too; set license or prior in its card.")


def remove(uri: str, json: bool) -> None:
    """Take an added source off the shelf; its weights stay where they are."""
    from headstart.sources.added import added, drop

    if not drop(uri):
        there = ", ".join(one.uri for one in added()) or "none"
        raise UsageError(f"{uri!r} was not added.\nExpected one of those that were: {there}.")
    show.as_json({"removed": uri}) if json else show.out(f"removed    {uri}")


def search(word: str, json: bool) -> None:
    """Print the names that a word finds."""
    from headstart.sources.search import search as ask

    hits, notes = ask(word)
    if json:
        return show.as_json({"found": [asdict(hit) for hit in hits], "notes": list(notes)})
    if hits:
        show.table(("source", "where", "what"), [(hit.uri, hit.where, hit.about) for hit in hits])
    else:
        show.out(f"Nothing is called {word!r}.")
    show.notes(notes)
