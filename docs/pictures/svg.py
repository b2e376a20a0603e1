"""Pictures as SVG: a card of its own with text that can be read, selected and searched.

A card brings its background, so it is readable on pages of any colour; in dark mode it is dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

# Filled areas have dark text on them in both modes, so they stay as they are. Lanes and sources
# never come in one picture, and have no colour in common.
FILLS = {
    "lane0": "#8fbcf2",
    "lane1": "#f3bf6b",
    "lane2": "#8dd3ae",
    "lane3": "#d9aee3",
    "source0": "#84cfd2",
    "source1": "#f2a3a0",
}
# Dots and curves are thin, and need more contrast with the card: in light mode, in dark mode.
STROKES = {
    "lane0": ("#1f6fc9", "#8fbcf2"),
    "lane1": ("#b26a00", "#f3bf6b"),
    "lane2": ("#1b8a57", "#8dd3ae"),
    "lane3": ("#9a45ab", "#d9aee3"),
    "source0": ("#127c80", "#84cfd2"),
    "source1": ("#c2413c", "#f2a3a0"),
}
LIGHT = {"card": "#ffffff", "edge": "#d4d8dd", "text": "#1f2328", "quiet": "#59636e"}
DARK = {"card": "#1c2128", "edge": "#454c55", "text": "#e6edf3", "quiet": "#aab4bf"}
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def _scheme(colours: dict[str, str], which: int) -> str:
    strokes = [f".dots.{name}{{stroke:{both[which]}}}" for name, both in STROKES.items()]
    return "".join(
        [
            f".card{{fill:{colours['card']};stroke:{colours['edge']}}}",
            f"text{{fill:{colours['text']}}}.quiet{{fill:{colours['quiet']}}}",
            f".plain{{fill:{colours['edge']}}}.thin{{stroke:{colours['edge']}}}",
            f".strong{{stroke:{colours['text']}}}.frame{{stroke:{colours['quiet']}}}",
            *strokes,
        ]
    )


STYLE = "\n".join(
    [
        f"text{{font:13px {FONT}}}.small{{font-size:11px}}.tiny{{font-size:9px}}",
        ".bold{font-weight:600}",
        "".join(f".{name}{{fill:{colour}}}" for name, colour in FILLS.items()),
        ".frame,.dots{fill:none}.dots{stroke-linecap:round;stroke-width:2.4}",
        ".dots.curve{stroke-width:1.5}",
        ".strong{stroke-width:1.5}.faint{opacity:.4}",
        _scheme(LIGHT, 0),
        f"@media (prefers-color-scheme:dark){{{_scheme(DARK, 1)}}}",
        ".inside{fill:#16191d}",
    ]
)


def number(value: float) -> str:
    """A coordinate, with a decimal if it needs one."""
    return f"{value:.1f}".removesuffix(".0")


@dataclass(slots=True, kw_only=True)
class Picture:
    """What is drawn, from the back to the front; lengths are pixels, y grows downwards."""

    title: str
    description: str
    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, label: str = ""
    ) -> None:
        """A rectangle, with a label in its middle."""
        at = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self.parts.append(f'<rect {at} class="{kind}"/>')
        if label:
            self.text(x + width / 2, y + height / 2 + 4, label, "small inside", "middle")

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """Words that start, end or have their middle at x; y: of the line that they stand on."""
        named = f' class="{kind}"' if kind else ""
        anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
        at = f'x="{number(x)}" y="{number(y)}"'
        self.parts.append(f"<text {at}{named}{anchored}>{escape(words)}</text>")

    def line(self, x: float, y: float, to_x: float, to_y: float, kind: str) -> None:
        """A straight line."""
        ends = f'x1="{number(x)}" y1="{number(y)}" x2="{number(to_x)}" y2="{number(to_y)}"'
        self.parts.append(f'<line {ends} class="{kind}"/>')

    def dots(self, places: Iterable[tuple[float, float]], kind: str) -> None:
        """A dot at each place."""
        drawn = "".join(f"M{number(x)} {number(y)}h0" for x, y in places)
        self.parts.append(f'<path d="{drawn}" class="dots {kind}"/>')

    def curve(self, places: Iterable[tuple[float, float]], kind: str) -> None:
        """A line through places."""
        drawn = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in places)
        self.parts.append(f'<path d="{drawn}" class="dots curve {kind}"/>')

    def legend(self, x: float, y: float, entries: Iterable[tuple[str, str]]) -> None:
        """Swatches of kinds, with what they mean, on one line."""
        for kind, words in entries:
            self.box(x, y - 10, 12, 12, kind)
            self.text(x + 17, y, words, "small")
            x += 17 + 7 * len(words) + 18

    def svg(self) -> str:
        """The file."""
        size = f"{number(self.width)} {number(self.height)}"
        whole = f'width="{number(self.width - 1)}" height="{number(self.height - 1)}"'
        head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img"'
        return "\n".join(
            [
                f'<svg {head} aria-labelledby="title description">',
                f'<title id="title">{escape(self.title)}</title>',
                f'<desc id="description">{escape(self.description)}</desc>',
                f"<style>{STYLE}</style>",
                f'<rect x="0.5" y="0.5" {whole} rx="8" class="card"/>',
                *self.parts,
                "</svg>\n",
            ]
        )
