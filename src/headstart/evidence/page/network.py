"""Network: the transferred model as a picture, its frozen part told from what learned."""

from dataclasses import dataclass

from markupsafe import Markup

from headstart.evidence.page.svg import element, picture, polyline

#: Where the bars stand, and how far they reach down.
TOP, TALL = 34.0, 112.0


@dataclass(frozen=True)
class Network:
    """What is drawn of a transferred model.

    Parameters
    ----------
    n_stages
        Of the pretrained trunk; 0 where it was not opened.
    n_frozen
        How many of them, from the input on, did not move.
    reads, says
        What goes in and what comes out, in a word or two each: "a picture", "1 of 12".
    head
        The new layers, in a word or two.
    is_random
        Whether nothing was transferred: every stage learned from random weights.
    """

    n_stages: int
    n_frozen: int
    reads: str
    says: str
    head: str = "new head"
    is_random: bool = False

    def bars(self, at_most: int) -> tuple[int, int]:
        """Return how many bars are drawn frozen and moving, none of either kind lost.

        >>> Network(16, 12, "a picture", "1 of 3").bars(8)
        (6, 2)
        >>> Network(0, 0, "a text", "1 of 3").bars(8)
        (8, 0)
        """
        if not self.n_stages:
            return (0, at_most) if self.is_random else (at_most, 0)
        n = min(at_most, self.n_stages)
        frozen = round(n * self.n_frozen / self.n_stages)
        least, most = int(self.n_frozen > 0), n - int(self.n_frozen < self.n_stages)
        frozen = max(least, min(most, frozen))
        return frozen, n - frozen

    def draw(self, width: int = 760) -> Markup:
        """Return the picture at a width in pixels."""
        is_narrow = width < 500
        edge = 52.0 if is_narrow else 110.0
        frozen, moving = self.bars(7 if is_narrow else 14)
        n = frozen + moving
        pitch = (width - 2 * edge - (34 if is_narrow else 44)) / n
        places = [edge + i * pitch for i in range(n)]
        blocks = [self._bar(x, i, n, pitch, i < frozen) for i, x in enumerate(places)]
        parts = [(edge, frozen * pitch, "still", self._still())] if frozen else []
        if moving:
            parts.append((edge + frozen * pitch, moving * pitch, "moved", self._moved()))
        return picture(
            "The network",
            self.in_words(),
            width,
            TOP + TALL + 62,
            _port(edge / 2, self.reads, "in"),
            *blocks,
            *(_bracket(x, span, style, said) for x, span, style, said in parts),
            *self._head(edge + n * pitch, width - edge, width),
        )

    def in_words(self) -> str:
        """Say what the picture shows."""
        if self.is_random:
            return f"{self.reads} goes in; every stage learned from random weights; {self.says}."
        frozen = f"{self.n_frozen} of {self.n_stages}" if self.n_stages else "all"
        return (
            f"{self.reads} goes in; {frozen} pretrained stages are frozen; then come "
            f"{self._moved()} and the {self.head}; {self.says} comes out."
        )

    def _still(self) -> str:
        return f"frozen: {self.n_frozen} of {self.n_stages}" if self.n_stages else "frozen: all"

    def _moved(self) -> str:
        n = self.n_stages - self.n_frozen
        if self.is_random:
            return "learned from nothing"
        return f"fine-tuned: {n}" if n else "no fine-tuned stages"

    def _bar(self, x: float, i: int, n: int, pitch: float, is_still: bool) -> Markup:
        tall = TALL * (1 - 0.55 * i / max(1, n - 1))
        return element(
            "rect",
            class_="still" if is_still else "moved",
            x=x + 1.5,
            y=TOP + (TALL - tall) / 2,
            width=pitch - 5,
            height=tall,
            rx=3,
        )

    def _head(self, start: float, stop: float, width: int) -> list[Markup]:
        middle = TOP + TALL / 2
        box = element("rect", class_="new", x=start + 6, y=middle - 24, rx=6,
                      width=stop - start - 10, height=48)  # fmt: skip
        at = (start + stop + 2) / 2
        name = element("text", self.head, class_="new", x=at, y=TOP - 14, text_anchor="middle")
        line = element("line", class_="lead", x1=at, x2=at, y1=TOP - 8, y2=middle - 26)
        return [box, line, name, _port((stop + width) / 2, self.says, "out")]


def _port(x: float, said: str, way: str) -> Markup:
    """Write what goes in or out, with an arrow below it."""
    middle = TOP + TALL / 2
    arrow = polyline([(x - 14, middle + 12), (x + 14, middle + 12)])
    tip = polyline([(x + 8, middle + 7), (x + 14, middle + 12), (x + 8, middle + 17)])
    return element(
        "g",
        element("text", said, x=x, y=middle - 4, text_anchor="middle"),
        element("path", d=arrow + tip),
        class_=f"port {way}",
    )


def _bracket(x: float, span: float, style: str, said: str) -> Markup:
    y = TOP + TALL + 12
    d = polyline([(x + 2, y), (x + 2, y + 7), (x + span - 4, y + 7), (x + span - 4, y)])
    return element("path", class_=f"bracket {style}", d=d) + element(
        "text", said, class_=style, x=x + span / 2, y=y + 26, text_anchor="middle"
    )
