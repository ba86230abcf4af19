"""Svg: elements whose every value is escaped, and the scales that place them."""

import math
from dataclasses import dataclass

from markupsafe import Markup, escape


def element(name: str, *children: str, **attributes: object) -> Markup:
    """Return one element; text and attributes are escaped, `Markup` is taken as it is.

    A trailing or inner underscore of an attribute's name stands for nothing or for a hyphen;
    attributes that are None are left out.

    >>> element("text", "a<b", class_="tick", text_anchor="end", x=1.25, y=None)
    Markup('<text class="tick" text-anchor="end" x="1.2">a&lt;b</text>')
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), number(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def number(value: object) -> str:
    """Return a coordinate to a tenth of a pixel, and anything else as it is written.

    >>> number(12.04), number(3), number("end")
    ('12', '3', 'end')
    """
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def picture(title: str, said: str, width: float, height: float, *children: str) -> Markup:
    """Return a whole drawing with a name and a description for those who cannot see it."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=f"{title}. {said}",
    )


def polyline(points: list[tuple[float, float]]) -> str:
    """Return the path through points.

    >>> polyline([(0.0, 1.0), (2.0, 3.5)])
    'M0 1L2 3.5'
    """
    return "M" + "L".join(f"{number(float(x))} {number(float(y))}" for x, y in points)


@dataclass(frozen=True)
class Scale:
    """Where a value lies on the page.

    Parameters
    ----------
    low, high
        The values at the two ends.
    start, stop
        The pixels there.
    is_log
        Whether equal ratios, not equal differences, are equally far apart.

    Examples
    --------
    >>> Scale(0, 10, 100, 200)(2.5), Scale(1, 100, 0, 200, is_log=True)(10)
    (125.0, 100.0)
    """

    low: float
    high: float
    start: float
    stop: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; one outside is put on the edge."""
        low, high, at = (self._straight(v) for v in (self.low, self.high, value))
        share = 0.5 if high == low else (at - low) / (high - low)
        return self.start + min(1.0, max(0.0, share)) * (self.stop - self.start)

    def ticks(self, at_most: int = 5) -> list[float]:
        """Return round values inside the scale.

        >>> Scale(0.1, 0.9, 0, 1).ticks()
        [0.2, 0.4, 0.6, 0.8]
        >>> Scale(3, 300, 0, 1, is_log=True).ticks()
        [5.0, 10.0, 50.0, 100.0]
        """
        return _decades(self.low, self.high, at_most) if self.is_log else self._even(at_most)

    def _even(self, at_most: int) -> list[float]:
        step = _round_step((self.high - self.low) / at_most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]

    def _straight(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.is_log else value


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least this.

    >>> _round_step(0.16), _round_step(3)
    (0.2, 5.0)
    """
    if least <= 0 or not math.isfinite(least):
        return 1.0
    power = 10.0 ** math.floor(math.log10(least) + 1e-9)
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9)))


def _decades(low: float, high: float, at_most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 2, 5), (1, 5), (1,)):
        found = [m * 10.0**p for p in range(first, last + 1) for m in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) <= at_most:
            return found
    return found


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Return places as near as can be to the wanted ones, at least `gap` apart, in their order.

    Parameters
    ----------
    wanted
        Where labels would stand, rising.
    gap
        The least distance between two.
    low, high
        Between which they must stay, as far as they fit.

    Examples
    --------
    >>> spread([10, 12, 40], 10, 0, 100)
    [6.0, 16.0, 40.0]
    """
    groups: list[tuple[float, int]] = []  # (center, how many stand there)
    for place in wanted:
        groups.append(_inside((float(place), 1), gap, low, high))
        while len(groups) > 1 and _overlap(groups[-2], groups[-1], gap):
            (a, n), (b, m) = groups[-2:]
            groups[-2:] = [_inside(((a * n + b * m) / (n + m), n + m), gap, low, high)]
    return [center + (i - (n - 1) / 2) * gap for center, n in groups for i in range(n)]


def _overlap(a: tuple[float, int], b: tuple[float, int], gap: float) -> bool:
    return b[0] - a[0] < gap * (a[1] + b[1]) / 2


def _inside(group: tuple[float, int], gap: float, low: float, high: float) -> tuple[float, int]:
    half = (group[1] - 1) / 2 * gap
    return max(low + half, min(high - half, group[0])), group[1]
