"""Training photos: where the sharp patches come from.

Which patches a batch holds depends on its ``Draw`` alone, not on where the photos are kept: in the memory of the
training device, cut there by one indexing operation, or in files, decoded and cut by worker processes.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from usrnet import io as pictures
from usrnet.device import free_memory
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
from usrnet.restoration.jobs import find_pictures

RESIDENT_SHARE = 0.3  # of the free memory; the rest belongs to the network


@dataclass(frozen=True)
class Draw:
    """Which patches: N photos, N×2 positions in [0,1), N×3 switches (flip rows, flip columns, transpose)."""

    photo: np.ndarray
    position: np.ndarray
    switches: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, count: int, weights: np.ndarray) -> "Draw":
        """``weights``: how often each photo is drawn, summing to one."""
        cumulated = np.cumsum(weights)
        photo = np.searchsorted(cumulated / cumulated[-1], rng.random(count), side="right")
        return cls(photo, rng.random((count, 2)), rng.integers(0, 2, (count, 3)))


class Photos(Protocol):
    """A source of sharp patches."""

    def patches(self, draws: Iterable[Draw], patch: int) -> Iterator[Tensor]:
        """For every draw a uint8 tensor N×3×patch×patch on the training device."""
        ...


@dataclass(frozen=True)
class Listing:
    """Photo files that can be used, their sizes (height, width), and what these were shrunk by."""

    files: list[Path]
    sizes: np.ndarray
    factors: np.ndarray

    def shares(self, draw: Literal["pixels", "photos"]) -> np.ndarray:
        """How often each photo is drawn, summing to one, so that every pixel or every photo is equally often."""
        area = self.sizes.prod(axis=1).astype(float)
        return area / area.sum() if draw == "pixels" else np.full(len(area), 1 / len(area))

    def split(self, count: int) -> tuple["Listing", "Listing"]:
        """``count`` photos, evenly spread over the list, and the others."""
        chosen = np.zeros(len(self.files), bool)
        chosen[np.linspace(0, len(self.files) - 1, min(count, len(self.files))).round().astype(int)] = True
        return self._where(chosen), self._where(~chosen)

    def _where(self, mask: np.ndarray) -> "Listing":
        files = [file for file, wanted in zip(self.files, mask, strict=True) if wanted]
        return Listing(files, self.sizes[mask], self.factors[mask])

    def with_shrunk(self, factors: Sequence[float], patch: int) -> "Listing":
        """Also every photo shrunk by each of the ``factors`` that leaves it at least ``patch`` high and wide."""
        files, sizes, by = list(self.files), [self.sizes], [self.factors]
        for factor in factors:
            shrunk = (self.sizes * factor).round().astype(int)
            large = shrunk.min(axis=1) >= patch
            files += self._where(large).files
            sizes.append(shrunk[large])
            by.append(np.full(large.sum(), factor))
        return Listing(files, np.concatenate(sizes), np.concatenate(by))

    def read(self, index: int) -> np.ndarray:
        """The pixels of a photo, H×W×3 uint8. Raises ``PictureError``."""
        pixels = pictures.read_rgb(self.files[index])
        if self.factors[index] == 1:
            return pixels
        height, width = map(int, self.sizes[index])
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def list_photos(folders: Sequence[str], patch: int) -> Listing:
    """The photos of the folders and their subfolders that are at least ``patch`` pixels high and wide.

    Unreadable and too small ones are left out with one note each. Raises ``UsrnetError`` when none is left.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsrnetError(f"training folder {folder} does not exist")
    try:
        found = [path for path, _ in find_pictures(folders, recursive=True)]
    except UsrnetError as error:
        raise UsrnetError(f"no training photos: {error}") from error
    files, sizes, unreadable, small = [], [], [], []
    for path in found:
        try:
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(0x0112, 1) >= 5
        except (OSError, SyntaxError, ValueError):
            unreadable.append(path)
            continue
        if min(width, height) < patch:
            small.append(path)
            continue
        files.append(path)
        sizes.append((width, height) if turned else (height, width))
    if not files:
        raise UsrnetError(
            f"no training photo in {', '.join(folders)}: {len(small)} are smaller than the patch of {patch} pixels, "
            f"{len(unreadable)} cannot be read"
        )
    _note(unreadable, "cannot be read")
    _note(small, f"are smaller than the patch of {patch} pixels")
    return Listing(files, np.array(sizes), np.ones(len(files)))


def _note(paths: Sequence[Path], what: str) -> None:
    if paths:
        names = ", ".join(str(path) for path in paths[:3]) + (" …" if len(paths) > 3 else "")
        warnings.warn(f"{len(paths)} training photos {what}: {names}", UsrnetWarning, stacklevel=3)


class ResidentPhotos:
    """All photos as one long uint8 tensor, pixels×3, on the training device."""

    def __init__(self, listing: Listing, device: torch.device) -> None:
        kept = []
        damaged = []
        for index, path in enumerate(listing.files):
            try:
                kept.append((index, listing.read(index)))
            except PictureError:
                damaged.append(path)
        _note(damaged, "are damaged")
        if not kept:
            raise UsrnetError("no training photo can be read")
        # A damaged photo is replaced by the next good one, so that the draws of the others stay what they are.
        good = np.array([index for index, _ in kept])
        place = np.searchsorted(good, np.arange(len(listing.files))).clip(max=len(good) - 1)
        shapes_of_kept = np.array([photo.shape[:2] for _, photo in kept])
        pixels = np.concatenate([photo.reshape(-1, 3) for _, photo in kept])
        starts = np.concatenate([[0], np.cumsum(shapes_of_kept.prod(axis=1))[:-1]])[place]
        self.pixels = torch.from_numpy(pixels).to(device)
        self.starts = torch.from_numpy(starts).to(device)
        self.shapes = torch.from_numpy(shapes_of_kept[place]).to(device)

    def patches(self, draws: Iterable[Draw], patch: int) -> Iterator[Tensor]:
        for draw in draws:
            yield self._cut(draw, patch)

    def _cut(self, draw: Draw, patch: int) -> Tensor:
        device = self.pixels.device
        photo = torch.from_numpy(draw.photo).to(device)
        position = torch.from_numpy(draw.position).to(device)
        flip_rows, flip_columns, transpose = torch.from_numpy(draw.switches).to(device, torch.bool).T
        shapes = self.shapes[photo]
        corner = (position * (shapes - patch + 1)).long()
        width = shapes[:, 1]
        # The way to the next row and the next column of the photo, and the pixel to start from.
        down = torch.where(flip_rows, -width, width)
        right = torch.where(flip_columns, -1, 1)
        row = corner[:, 0] + flip_rows * (patch - 1)
        column = corner[:, 1] + flip_columns * (patch - 1)
        first = self.starts[photo] + row * width + column
        down, right = torch.where(transpose, right, down), torch.where(transpose, down, right)
        steps = torch.arange(patch, device=device)
        down, right, first = down[:, None, None], right[:, None, None], first[:, None, None]
        places = first + down * steps[:, None] + right * steps
        pixels = self.pixels.index_select(0, places.reshape(-1))
        return pixels.reshape(-1, patch, patch, 3).permute(0, 3, 1, 2).contiguous()


class StreamedPhotos:
    """Photos decoded and cut by worker processes, in the order of the draws."""

    def __init__(self, listing: Listing, device: torch.device, workers: int) -> None:
        self.listing, self.device, self.workers = listing, device, workers

    def patches(self, draws: Iterable[Draw], patch: int) -> Iterator[Tensor]:
        loader = DataLoader(
            _Crops(self.listing, patch),
            batch_size=None,
            sampler=draws,  # pyright: ignore[reportArgumentType]  # any iterable of what the dataset takes
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )
        for batch in loader:
            yield batch.to(self.device, non_blocking=True)


class _Crops(Dataset[Tensor]):
    def __init__(self, listing: Listing, patch: int) -> None:
        self.listing, self.patch = listing, patch

    def __getitem__(self, draw: Draw) -> Tensor:
        crops = [
            self._cut(int(photo), position, switches)
            for photo, position, switches in zip(draw.photo, draw.position, draw.switches, strict=True)
        ]
        return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())

    def _cut(self, photo: int, position: np.ndarray, switches: np.ndarray) -> np.ndarray:
        pixels = self._read(photo)
        top, left = (position * (np.array(pixels.shape[:2]) - self.patch + 1)).astype(int)
        crop = pixels[top : top + self.patch, left : left + self.patch]
        flip_rows, flip_columns, transpose = switches
        crop = crop[::-1] if flip_rows else crop
        crop = crop[:, ::-1] if flip_columns else crop
        return crop.swapaxes(0, 1) if transpose else crop

    def _read(self, photo: int) -> np.ndarray:
        count = len(self.listing.files)
        for attempt in range(count):  # a damaged photo is replaced by the next good one
            try:
                return self.listing.read((photo + attempt) % count)
            except PictureError as error:
                if attempt == 0:
                    warnings.warn(f"training photo left out: {error}", UsrnetWarning, stacklevel=2)
        raise UsrnetError("no training photo can be read")


def open_photos(listing: Listing, device: torch.device, *, resident: bool | str, workers: int) -> Photos:
    """The photos in memory if they fit (``resident="auto"``) or if that is demanded, else streamed."""
    if resident == "auto":
        needed = 3 * int(listing.sizes.prod(axis=1).sum())
        resident = needed < RESIDENT_SHARE * free_memory(device)
    return ResidentPhotos(listing, device) if resident else StreamedPhotos(listing, device, workers)
