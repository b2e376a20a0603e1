"""A raster of many bands and its mask, cut into tiles that know where on the map they are, and read
back for a segmentation training, with an augmentation that treats image and mask alike.

RASTER is a GeoTIFF of uint16 (height, width, bands), MASK a TIFF of uint8 (height, width), both not
compressed. Without them a photograph of galaxies is taken for land, and what shines for roads.
"""

import argparse
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from skimage import color, data

import millstream as ms

SIDE, PART = 256, 192


@cache
def pixels(path: str) -> np.ndarray:
    """Mapped once in each worker, and read where a tile is. (If compressed, with rasterio.)"""
    return tifffile.memmap(path, mode="r")


def make_raster(raster: str, mask: str) -> None:
    photo, grey = data.hubble_deep_field(), color.rgb2gray(data.hubble_deep_field())
    bands = np.dstack([photo * np.uint16(257), (grey * 65_535).astype(np.uint16)])
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32_632)  # zone 32 of UTM
    corner = (0.0, 0.0, 0.0, 400_000.0, 5_200_000.0, 0.0)  # the upper left one, in metres
    tags = [(33550, "d", 3, (10.0, 10.0, 0.0)), (33922, "d", 6, corner), (34735, "H", 12, keys)]
    tifffile.imwrite(raster, bands, photometric="minisblack", planarconfig="contig", extratags=tags)
    tifffile.imwrite(mask, (grey > 0.15).astype(np.uint8))


def augment(sample: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A part, turned and mirrored: drawn once for both, by the place in the epoch alone."""
    top, left = rng.integers(0, SIDE - PART + 1, 2)
    turns, step = int(rng.integers(4)), int(rng.choice([1, -1]))
    window = np.s_[..., top : top + PART, left : left + PART]
    turned = {name: np.rot90(a[window], turns, axes=(-2, -1)) for name, a in sample.items()}
    return {name: values[..., ::step] for name, values in turned.items()}


def main(output: str, files: list[str] | None) -> None:
    raster, mask = files or ("raster.tif", "mask.tif")
    if not files and not Path(mask).exists():
        make_raster(raster, mask)
    with tifffile.TiffFile(raster) as file:
        tags = file.pages[0].geotiff_tags
    (width, height, _), (west, north) = tags["ModelPixelScale"], tags["ModelTiepoint"][3:5]

    def tile(what: tuple[str, str, int, int]) -> dict[str, Any]:
        raster, mask, row, column = what
        window = np.s_[row : row + SIDE, column : column + SIDE]
        # As GDAL has it: x = t[0] + t[1] * column + t[2] * row, and y with the last three.
        place = [west + column * width, width, 0.0, north - row * height, 0.0, -height]
        image = np.moveaxis(pixels(raster)[window], -1, 0)  # channels first, as networks want it
        where = ms.Json({"epsg": int(tags["ProjectedCSTypeGeoKey"]), "transform": place})
        return {"image": image, "mask": pixels(mask)[window], "where": where}

    # The last tile of a row or column ends where the raster ends, and so overlaps the one before.
    rows, columns = ([*range(0, n - SIDE, SIDE), n - SIDE] for n in pixels(raster).shape[:2])
    # Files that are named in the inputs tell, by their times, a job from one for other contents.
    ms.optimize(tile, list(product([raster], [mask], rows, columns)), output)
    print("the first tile lies at", ms.StreamingDataset(output, fields=["where"])[0]["where"])
    tiles = ms.StreamingDataset(output, shuffle=True, fields=["image", "mask"], transform=augment)
    for batch in ms.StreamingDataLoader(tiles, batch_size=4):
        print(tuple(batch["image"].shape), f"{batch['mask'].float().mean():.1%} in the mask")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a URL like s3://bucket/x")
    parser.add_argument("--files", nargs=2, metavar=("RASTER", "MASK"))
    main(**vars(parser.parse_args()))
