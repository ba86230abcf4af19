"""Chart: lines with bands over two axes, each line named at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from headstart.evidence.page.svg import Scale, element, picture, polyline, spread

#: Pixels of a line of labels.
LINE = 16.0


@dataclass(frozen=True)
class Line:
    """A curve with its band.

    Parameters
    ----------
    name
        How it is called at its end.
    style
        The CSS class that colors it: the name of an arm's part, as "probe" or "scratch".
    x, y
        The points; a single one is drawn as a dot.
    low, high
        The band, as long as `y`; empty without one.
    """

    name: str
    style: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def reach(self) -> tuple[float, ...]:
        """Every height it touches."""
        return (*self.y, *self.low, *self.high)


@dataclass(frozen=True)
class Axis:
    """What an axis is called, how its values are written, and whether it is logarithmic."""

    name: str
    write: Callable[[float], str] = field(default=lambda value: f"{value:g}")
    is_log: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines on a page of a given width.

    Parameters
    ----------
    title, said
        What it is called, and what it shows, for those who cannot see it.
    lines
        What is drawn; the last lies on top.
    across, up
        The two axes.
    width, height
        In pixels at which type has its natural size.
    """

    title: str
    said: str
    lines: Sequence[Line]
    across: Axis
    up: Axis
    width: int = 760
    height: int = 380

    @property
    def is_narrow(self) -> bool:
        """Whether it is for a phone: names of lines then stand below, not beside."""
        return self.width < 500

    @property
    def x(self) -> Scale:
        """Where values of the axis across lie."""
        values = [value for line in self.lines for value in line.x]
        right = self.width - (14 if self.is_narrow else 24 + self._widest_name())
        return Scale(min(values), max(values), 46, right, self.across.is_log)

    @property
    def y(self) -> Scale:
        """Where values of the axis up lie: from a round value below all to one above."""
        values = [value for line in self.lines for value in line.reach]
        low, high = min(values), max(values)
        rim = max((high - low) * 0.06, 1e-3)
        return Scale(low - rim, high + rim, self.height - 44, 30)

    def draw(self, *marks: str) -> Markup:
        """Return the drawing; `marks` are laid over it."""
        return picture(
            self.title,
            self.said,
            self.width,
            self.height + (self._key_height() if self.is_narrow else 0),
            *self._grid(),
            *(self._band(line) for line in self.lines if line.low and len(line.x) > 1),
            *(self._stroke(line) for line in self.lines),
            *marks,
            *(self._key() if self.is_narrow else self._names()),
        )

    def _grid(self) -> list[Markup]:
        x, y = self.x, self.y
        rows = [self._row(y(value), self.up.write(value)) for value in y.ticks()]
        ticks = x.ticks(4 if self.is_narrow else 7)
        columns = [
            element("text", self.across.write(value), class_="tick", x=x(value),
                    y=self.height - 24.0, text_anchor="middle")
            for value in ticks
        ]  # fmt: skip
        names = [
            element("text", self.up.name, class_="axis", x=0, y=14),
            element("text", self.across.name, class_="axis", x=x.stop, y=self.height - 5.0,
                    text_anchor="end"),
        ]  # fmt: skip
        return [*rows, *columns, *names]

    def _row(self, y: float, said: str) -> Markup:
        line = element("line", class_="grid", x1=self.x.start, x2=self.x.stop, y1=y, y2=y)
        text = element("text", said, class_="tick", x=38, y=y + 4, text_anchor="end")
        return line + text

    def _band(self, line: Line) -> Markup:
        x, y = self.x, self.y
        there = [(x(a), y(b)) for a, b in zip(line.x, line.high, strict=True)]
        back = [(x(a), y(b)) for a, b in zip(line.x, line.low, strict=True)]
        return element("path", class_=f"band {line.style}", d=polyline(there + back[::-1]) + "Z")

    def _stroke(self, line: Line) -> Markup:
        points = [(self.x(a), self.y(b)) for a, b in zip(line.x, line.y, strict=True)]
        drawn = Markup("")
        if len(points) > 1:
            drawn = element("path", class_=f"line {line.style}", d=polyline(points))
        if len(points) > 12:
            return drawn
        dots = (
            element("circle", class_=f"dot {line.style}", cx=a, cy=b, r=self._dot())
            for a, b in points
        )
        return drawn + Markup("").join(dots)

    def _dot(self) -> float:
        return 2.5 if self.is_narrow else 3.0

    def _names(self) -> list[Markup]:
        """Name every line at its end, none over another."""
        lines = sorted(self.lines, key=lambda line: self.y(line.y[-1]))
        ends = [self.y(line.y[-1]) for line in lines]
        places = spread(ends, LINE, self.y.stop, self.y.start)
        return [
            self._name(line, end, place)
            for line, end, place in zip(lines, ends, places, strict=True)
        ]

    def _name(self, line: Line, end: float, place: float) -> Markup:
        edge = self.x.stop
        lead = [(self.x(line.x[-1]) + 4, end), (edge + 8, end), (edge + 14, place)]
        return element("path", class_="lead", d=polyline(lead)) + element(
            "text", line.name, class_=f"name {line.style}", x=edge + 18, y=place + 4
        )

    def _key(self) -> list[Markup]:
        """Name the lines below, in as many columns as fit."""
        found, n = [], self._columns()
        for i, line in enumerate(reversed(self.lines)):
            x = 4.0 + (i % n) * (self.width - 8) / n
            y = self.height + 12.0 + (i // n) * 20
            found.append(element("line", class_=f"line {line.style}", x1=x, x2=x + 20, y1=y, y2=y))
            found.append(element("text", line.name, class_="name", x=x + 26, y=y + 4))
        return found

    def _columns(self) -> int:
        return max(1, int((self.width - 8) // (34 + self._widest_name())))

    def _key_height(self) -> int:
        return 8 + 20 * -(-len(self.lines) // self._columns())

    def _widest_name(self) -> float:
        return 7.2 * max(len(line.name) for line in self.lines)
