"""Many images on one page, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = 160
GAP = 8
LINE = 16
PAPER = (250, 250, 248)
INK = (40, 40, 40)


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], path: Path, columns: int = 8
) -> None:
    """Writes a PNG: the images in reading order, scaled to fit a square, a caption under each."""
    rows = -(-len(images) // columns)
    across, down = CELL + GAP, CELL + LINE + GAP
    sheet = Image.new("RGB", (GAP + columns * across, GAP + max(rows, 1) * down), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = GAP + number % columns * across
        top = GAP + number // columns * down
        small = _fitted(image)
        sheet.paste(small, (left + (CELL - small.width) // 2, top + (CELL - small.height) // 2))
        text = _shortened(caption, font)
        middle = left + (CELL - font.getlength(text)) / 2
        draw.text((middle, top + CELL + 2), text, INK, font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG")


def _fitted(image: Image.Image) -> Image.Image:
    """A copy that fits the cell; a tiny image shows its pixels instead of a blur."""
    scale = min(CELL / image.width, CELL / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return image.convert("RGB").resize(size, how)


def _shortened(
    caption: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int = CELL
) -> str:
    """The caption, or as much of it as fits, with dots."""
    if font.getlength(caption) <= width:
        return caption
    kept = caption
    while kept and font.getlength(kept + "...") > width:
        kept = kept[:-1]
    return kept + "..."
