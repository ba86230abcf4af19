"""Pictures: sniffed, hashed, and decoded without harm.

A picture comes from anywhere and may be anything: half a download, a text file with a wrong name,
a small file that unfolds to gigabytes. `decode` returns RGB pixels or raises `UnreadableRow`.
"""

import hashlib
import io
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.foreign import as_array
from headstart.data.words import Sentence
from headstart.errors import UnreadableRow

if TYPE_CHECKING:
    from PIL.Image import Image

#: What may be decoded, in Pillow's names; every other decoder stays closed.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

#: A picture of more pixels is refused before it is decoded.
MAX_PIXELS = 100_000_000

READABLE_SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff".split())

#: Files that a person would call pictures, also the ones that cannot be read here.
PICTURE_SUFFIXES = READABLE_SUFFIXES | frozenset(
    ".heic .heif .avif .svg .jp2 .jxl .psd .ico .ppm .pgm .tga .dng .cr2 .nef .arw".split()
)

_EXPECTED = "expected " + ", ".join(FORMATS[:-1]) + " or " + FORMATS[-1]
_NO_NAME = "no file can have such a name"
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112  # the EXIF tag

# Odd metadata and large pictures make Pillow warn; here they are either fine or an error. Once,
# and for all threads: rows are decoded in several, whose `catch_warnings` would undo each other's.
warnings.filterwarnings("ignore", module=r"PIL\.")

#: One is held while a PIL picture reads its file, which the same picture in another row reads too.
_LOADING = tuple(threading.Lock() for _ in range(64))


def problem(path: Path) -> str:
    """Return what already the first bytes say is wrong with a file; "" if nothing.

    Nothing is decoded: a truncated picture passes here and is found by `decode`.
    """
    try:
        with path.open("rb") as file:
            return _head_problem(file.read(12))
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError:  # a zero byte, or half a character
        return _NO_NAME


def _head_problem(head: bytes) -> str:
    """Return what is wrong with the first 12 bytes of a file.

    >>> _head_problem(b"GIF89a......"), _head_problem(b"")
    ('', 'the file is empty')
    """
    if not head:
        return "the file is empty"
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if is_webp or head.startswith(_SIGNATURES) or head[:4] in _TIFF_SIGNATURES:
        return ""
    return f"not a picture by its first bytes, {_EXPECTED}"


def row_bytes(row: Any) -> bytes:
    """Return the content of a raw row.

    A path gives the bytes of its file, a text its UTF-8, a sentence its words, an array its type,
    its shape and its values, a PIL picture its size and its upright RGB pixels: its own values
    mean nothing without its palette, its transparency and its orientation. A `str` is a text: the
    path of a picture is a `Path`.

    Raises
    ------
    UnreadableRow
        The file cannot be read, the PIL picture has no RGB pixels, or the row is no array.
    """
    if isinstance(row, str):
        return row.encode("utf-8", "surrogatepass")
    if isinstance(row, Sentence):
        return "\0".join(("words", *row.words)).encode("utf-8", "surrogatepass")
    if isinstance(row, bytes | bytearray | memoryview):
        return bytes(row)
    if isinstance(row, Path):
        return _file_bytes(row)
    if _is_pil(row):
        upright = decode(row)
        return f"{upright.mode} {upright.size}\n".encode() + upright.tobytes()
    try:
        values = np.ascontiguousarray(as_array(row))
    except Exception as error:  # foreign arrays have errors of their own
        raise UnreadableRow(_shown(row), _reason(error)) from error
    return f"{values.dtype.str} {values.shape}\n".encode() + values.tobytes()


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableRow(str(path), error.strerror or str(error)) from error
    except ValueError as error:
        raise UnreadableRow(repr(str(path)), _NO_NAME) from error


def row_hash(row: Any) -> bytes:
    """Return 16 bytes that name the content of a row: equal content, equal name.

    >>> row_hash("ant") == row_hash(b"ant"), len(row_hash("bee"))
    (True, 16)
    """
    return hashlib.blake2b(row_bytes(row), digest_size=16).digest()


def known_hash(row: Any) -> bytes | None:
    """Return the `row_hash` of a row; None where it cannot be read: that is told later, by name."""
    try:
        return row_hash(row)
    except UnreadableRow:
        return None


def decode(row: Any, *, at_least: tuple[int, int] | None = None) -> "Image":
    """Return a picture as an RGB `PIL.Image.Image`, upright, its first frame, on white.

    Parameters
    ----------
    row
        A path, encoded bytes, a PIL picture, or an array of shape (h, w), (h, w, 1), (h, w, 3) or
        (h, w, 4): uint8, uint16, bool, floats from 0 to 1, other whole numbers from 0 to 255.
        A PIL picture of mode "F" holds 0 to 1, of mode "I" 0 to 65,535.
    at_least
        The (height, width) that will be needed. A JPEG at least twice as large on both sides is
        decoded at a half, a quarter or an eighth of its size, never below this.

    Raises
    ------
    UnreadableRow
        Whatever is wrong with the picture, in a few words.
    """
    try:
        picture = _opened(row)
        _refuse_bomb(picture)
        if at_least is not None:
            _draft(picture, at_least)
        picture.load()
        return _rgb(_upright(picture))
    except (UnreadableRow, MemoryError):
        raise
    except Exception as error:  # a broken file makes Pillow raise nearly anything
        raise UnreadableRow(_shown(row), _reason(error)) from error


def _is_pil(row: Any) -> bool:
    return hasattr(row, "getbands") and hasattr(row, "tobytes")


def _shown(row: Any) -> str:
    if isinstance(row, str | Path):
        return str(row)
    if isinstance(row, bytes):
        return f"picture of {len(row)} bytes"
    return f"picture of type {type(row).__name__}"


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"no readable picture, {_EXPECTED}"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS // 10**6} million pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _opened(row: Any) -> "Image":
    """Read the header; nothing is decoded yet."""
    from PIL import Image

    if _is_pil(row):
        with _LOADING[id(row) // 16 % len(_LOADING)]:
            row.load()  # of a loaded picture, nothing
        return row.copy()
    if not isinstance(row, str | Path | bytes):
        return _from_array(np.asarray(as_array(row)))
    encoded = row if isinstance(row, bytes) else _file_bytes(Path(row))
    if not encoded:
        raise UnreadableRow(_shown(row), "the file is empty")
    return Image.open(io.BytesIO(encoded), formats=FORMATS)


def _refuse_bomb(picture: "Image") -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise ValueError(f"{width} × {height} is more than {limit} million pixels")


def _draft(picture: "Image", at_least: tuple[int, int]) -> None:
    height, width = at_least
    if picture.format not in ("JPEG", "MPO"):
        return
    if _orientation(picture) >= 5:  # lying on its side: the file's width is our height
        height, width = width, height
    picture.draft(None, (width, height))


def _orientation(picture: "Image") -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF, unbroken picture
        return 1


def _upright(picture: "Image") -> "Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(picture)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _eight_bits(picture: "Image") -> NDArray[np.uint8]:
    values = np.asarray(picture)  # (h, w)
    if picture.mode == "F":
        return _scaled(values)
    _refuse_outside(values, 65535)  # mode "I" is what Pillow opens some 16-bit files as
    return _scaled(values.astype(np.uint16))


def _scaled(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return values as 0 to 255; the type tells their range, never the largest of them.

    Floats are 0 to 1, uint16 is 0 to 65,535, other numbers are 0 to 255.

    >>> _scaled(np.array([0, 257, 65535], dtype=np.uint16)), _scaled(np.array([0.0, 0.2]))
    (array([  0,   1, 255], dtype=uint8), array([ 0, 51], dtype=uint8))
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    is_wide = values.dtype.kind == "u" and values.dtype.itemsize == 2  # in either byte order
    largest = 1 if values.dtype.kind == "f" else 65535 if is_wide else 255
    _refuse_outside(values, largest)
    return np.rint(values * (255 / largest)).astype(np.uint8)


def _refuse_outside(values: NDArray[Any], largest: int) -> None:
    low, high = float(values.min()), float(values.max())
    slack = 1e-5 if values.dtype.kind == "f" else 0  # resizing rounds
    if not (low >= -slack and high <= largest + slack):  # also refuses not-a-number
        kind = "floats" if values.dtype.kind == "f" else "numbers"
        raise ValueError(f"{kind} from {low:g} to {high:g}, expected 0 to {largest:,}")


def _from_array(values: NDArray[Any]) -> "Image":
    from PIL import Image

    is_colored = values.ndim == 3 and values.shape[2] in (1, 3, 4)
    if not (values.ndim == 2 or is_colored) or values.size == 0:
        raise ValueError(f"an array of shape {values.shape}, expected (height, width, 3)")
    pixels = _scaled(values)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
