"""Small pictures without a plotting library: a few shapes, written as SVG."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

Point = tuple[float, float]
FONT = "font-family='sans-serif'"


class Svg:
    """A picture being drawn; lengths in pixels, y downwards."""

    def __init__(self, width: int, height: int) -> None:
        self._head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
            f"width='{width}' height='{height}'>"
        )
        self._parts = [f"<rect width='{width}' height='{height}' fill='white'/>"]

    def line(self, a: Point, b: Point, color: str, width: float = 1, dash: str = "") -> None:
        dashed = f" stroke-dasharray='{dash}'" if dash else ""
        self._parts.append(
            f"<line x1='{a[0]:.1f}' y1='{a[1]:.1f}' x2='{b[0]:.1f}' y2='{b[1]:.1f}' "
            f"stroke='{color}' stroke-width='{width}'{dashed}/>"
        )

    def path(self, points: Sequence[Point], color: str) -> None:
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f"<polyline points='{joined}' fill='none' stroke='{color}' stroke-width='2'/>"
        )

    def dot(self, at: Point, color: str, radius: float = 4, filled: bool = True) -> None:
        fill = color if filled else "white"
        self._parts.append(
            f"<circle cx='{at[0]:.1f}' cy='{at[1]:.1f}' r='{radius}' fill='{fill}' "
            f"stroke='{color}' stroke-width='1.5'/>"
        )

    def box(self, at: Point, width: float, height: float, color: str, opacity: float = 1) -> None:
        self._parts.append(
            f"<rect x='{at[0]:.1f}' y='{at[1]:.1f}' width='{width:.1f}' height='{height:.1f}' "
            f"fill='{color}' fill-opacity='{opacity}' rx='2'/>"
        )

    def text(
        self, at: Point, words: str, size: int = 12, color: str = "#333", anchor: str = "start"
    ) -> None:
        self._parts.append(
            f"<text x='{at[0]:.1f}' y='{at[1]:.1f}' font-size='{size}' {FONT} fill='{color}' "
            f"text-anchor='{anchor}'>{escape(words)}</text>"
        )

    def __str__(self) -> str:
        return "\n".join([self._head, *self._parts, "</svg>\n"])
