"""Plots as SVG; the style sheet has their colors."""

import math
from html import escape

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34
Points = list[list[float]]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about `count` round numbers from low to high."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= raw)
    first = math.ceil(low / step - 1e-9)
    return [
        round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)
    ]


def label(number: float) -> str:
    """Return a number of an axis."""
    return f"{number:,.6g}"


def curves(title: str, series: dict[str, Points]) -> str:
    """Return curves of steps and values on one plot.

    The first is drawn wide and the last thin, so that both show where they are equal.
    """
    points = [point for one in series.values() for point in one]
    xs, ys = zip(*points, strict=True)
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1)
    low_y, high_y = min(ys), max(ys)
    room = (high_y - low_y) * 0.06 or abs(high_y) * 0.1 or 1.0
    low_y, high_y = low_y - room, high_y + room

    def x(step: float) -> float:
        part = (step - low_x) / (high_x - low_x)
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        part = (value - low_y) / (high_y - low_y)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)

    parts = [axis_y(y(tick), label(tick)) for tick in ticks(low_y, high_y)]
    parts += [
        f'<text x="{x(tick)}" y="{HEIGHT - BOTTOM + 16}" class="x">{label(tick)}</text>'
        for tick in ticks(low_x, high_x, 5)
    ]
    for name, line in zip(("wide", "thin"), series.values(), strict=True):
        path = " ".join(f"{x(step)},{y(value)}" for step, value in line)
        parts.append(f'<polyline class="{name}" points="{path}"/>')
        if len(line) <= 30:
            parts += [
                f'<circle class="{name}" cx="{x(step)}" cy="{y(value)}"'
                f' r="{5 if name == "wide" else 2}"/>'
                for step, value in line
            ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" class="end">step</text>')
    return svg(f"{title} of both halves", parts)


def axis_y(y: float, text: str) -> str:
    """Return a line across the plot, and its number."""
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4}" class="end">{text}</text>'
    )


def histogram(title: str, bars: Points) -> str:
    """Return bars of left edge, right edge and count."""
    low, high = bars[0][0], bars[-1][1]
    most = max(count / (right - left) for left, right, count in bars)

    def x(value: float) -> float:
        part = (value - low) / (high - low)
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    parts = []
    for left, right, count in bars:
        height = round(count / (right - left) / most * (HEIGHT - TOP - BOTTOM), 1)
        parts.append(
            f'<rect x="{x(left)}" width="{max(x(right) - x(left) - 1, 0.5):.1f}"'
            f' y="{HEIGHT - BOTTOM - height:.1f}" height="{height}"/>'
        )
    parts += [
        f'<text x="{x(tick)}" y="{HEIGHT - BOTTOM + 16}" class="x">{label(tick)}</text>'
        for tick in ticks(low, high, 5)
    ]
    return svg(f"histogram of {title}", parts)


def svg(title: str, parts: list[str]) -> str:
    """Return a picture that says its title to those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
