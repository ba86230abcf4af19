"""Pictures: whatever comes, RGB pixels or an UnreadableRow."""

import io
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.augment import crop_box, view
from headstart.data.pictures import decode, problem, row_bytes, row_hash
from headstart.errors import UnreadableRow

# The package says this once, when it is imported; pytest's own filter, "error", comes after that.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def red_left(width: int = 8, height: int = 4) -> Image.Image:
    """Return a picture whose left half is red, whose right half is blue."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_give_their_pixels(name: str) -> None:
    """Every allowed format that loses nothing gives back what was put in."""
    assert np.array_equal(decode(encoded(red_left(), name)), red_left())


def test_lossy_formats_open() -> None:
    """JPEG and WEBP give the same size, and red where it was red."""
    for name in ("JPEG", "WEBP"):
        image = decode(encoded(red_left(32, 16), name))
        assert image.mode == "RGB"
        assert image.size == (32, 16)
        assert image.getpixel((2, 8))[0] > 200


def test_a_path_bytes_an_array_and_a_picture_decode_alike(tmp_path: Path) -> None:
    """The same picture in four clothes."""
    path = tmp_path / "a.png"
    red_left().save(path)
    for row in (path, str(path), path.read_bytes(), np.asarray(red_left()), red_left()):
        assert np.array_equal(decode(row), red_left())


class Slow(io.BytesIO):
    """A file whose reader is overtaken by others."""

    def read(self, size: int | None = -1) -> bytes:
        """Wait a little, then read."""
        time.sleep(0.002)
        return super().read(size)


def test_one_picture_in_several_rows_is_read_by_one_thread() -> None:
    """A picture that `Image.open` left unread has one place in its file, whoever reads it."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    row = Image.open(Slow(encoded(Image.fromarray(pixels), "PNG")))
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(decode, [row] * 4))
    assert all(np.array_equal(one, pixels) for one in decoded)


def test_a_wrong_name_does_not_matter_if_the_content_is_a_picture(tmp_path: Path) -> None:
    """A PNG that is called .jpg is read as what it is."""
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(red_left(), "PNG"))
    assert problem(path) == ""
    assert decode(path).getpixel((0, 0)) == RED


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"name,label\n1,2\n", "picture"),
        (b"GIF89a", "picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "picture"),
    ],
)
def test_files_that_are_no_pictures_say_so(tmp_path: Path, content: bytes, why: str) -> None:
    """Empty, renamed, cut after the signature, and a format that stays closed (PostScript)."""
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableRow, match=f"a.jpg: .*{why}"):
        decode(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """A path that leads nowhere is one unreadable row."""
    with pytest.raises(UnreadableRow, match="No such file"):
        decode(tmp_path / "gone.png")
    assert problem(tmp_path / "gone.png") == "no such file"
    for name in ("\0.png", "\ud83d.png"):
        assert problem(tmp_path / name) == "no file can have such a name"
        with pytest.raises(UnreadableRow, match="no file can have such a name"):
            row_bytes(tmp_path / name)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_truncated_pictures_are_refused(name: str) -> None:
    """Half a file passes no format silently."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), name)
    with pytest.raises(UnreadableRow):
        decode(whole[: len(whole) // 2])


def png_claiming(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    """400 million and 3.6 billion pixels out of a hundred bytes: refused before decoding."""
    with pytest.raises(UnreadableRow, match="million pixels"):
        decode(png_claiming(side, side))


def test_the_limit_of_pixels_is_ours_not_only_pillows() -> None:
    """Between our limit and the one where Pillow gives up, we refuse."""
    with pytest.raises(UnreadableRow, match="12000 × 10000"):
        decode(png_claiming(12_000, 10_000))


def test_cmyk_becomes_rgb() -> None:
    """Full cyan and nothing else has no red."""
    image = decode(encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95))
    red, green, blue = image.getpixel((8, 8))
    assert red < 30
    assert min(green, blue) > 150


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """32,768 of 65,535 is a middle gray; Pillow's own conversion would make it white."""
    values = np.full((4, 4), 32_768, dtype=np.uint16)
    for row in (values, encoded(Image.fromarray(values), "PNG")):
        assert decode(row).getpixel((0, 0)) == (128, 128, 128)


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    """The type tells the range, not the largest value."""
    assert decode(np.full((4, 4), 255, dtype=np.uint16)).getpixel((0, 0)) == (1, 1, 1)


@pytest.mark.parametrize("kind", ["u1", "u2", "i4", "f4"])
def test_the_order_of_bytes_changes_no_pixel(kind: str) -> None:
    """Files of other machines, and scientific ones, hold the large byte first."""
    white = {"u2": 65535, "f4": 1}.get(kind, 255)
    values = (np.linspace(0, 1, 16) * white).reshape(4, 4)
    little, big = decode(values.astype(f"<{kind}")), decode(values.astype(f">{kind}"))
    assert np.array_equal(little, big)
    assert big.getpixel((3, 3)) == (255, 255, 255)


def test_floats_are_read_as_zero_to_one() -> None:
    """One is white."""
    assert decode(np.ones((2, 2, 3))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "row", [np.full((2, 2), np.nan), np.full((2, 2), -1.0), np.ones((3, 8, 8)), np.ones(3)]
)
def test_arrays_that_are_no_pictures_are_refused(row: np.ndarray) -> None:
    """Not-a-number, negative values, channels first, no plane."""
    with pytest.raises(UnreadableRow, match="expected"):
        decode(row)


def test_transparency_is_laid_on_white() -> None:
    """What cannot be seen is white, in RGBA, in a palette and in gray with alpha."""
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    palette = clear.quantize(4)
    for image in (clear, palette, Image.new("LA", (4, 4), (0, 0))):
        assert decode(encoded(image, "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_an_animation_gives_its_first_frame() -> None:
    """Red first, blue second: red."""
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    for name in ("GIF", "PNG", "WEBP"):
        animation = encoded(frames[0], name, save_all=True, append_images=frames[1:])
        red, _, blue = decode(animation).getpixel((4, 4))
        assert red > 240 > 15 > blue


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_undone(name: str) -> None:
    """Orientation 6: the camera was turned, the left of the file is the top of the scene."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decode(encoded(red_left(32, 16), name, exif=exif))
    assert image.size == (16, 32)
    assert image.getpixel((8, 2))[0] > 200  # red on top
    assert image.getpixel((8, 29))[2] > 200  # blue below


def test_all_eight_orientations_come_back_upright() -> None:
    """Each way of storing the scene gives the scene."""
    scene = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.T,
        6: np.rot90(scene, 1),
        7: scene[::-1, ::-1].T,
        8: np.rot90(scene, -1),
    }
    for orientation, values in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(values))
        upright = np.asarray(decode(encoded(image, "PNG", exif=exif)))[..., 0]
        assert np.array_equal(upright, scene), orientation


def test_broken_exif_does_not_cost_the_picture() -> None:
    """Garbage instead of EXIF: read as upright."""
    garbage = encoded(red_left(32, 16), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(garbage).size == (32, 16)


def test_a_large_jpeg_is_decoded_small_enough_and_large_enough() -> None:
    """1600 × 800 for at least 200 × 100 wanted (height, width): an eighth would do."""
    jpeg = encoded(red_left(800, 1600), "JPEG")
    assert decode(jpeg).size == (800, 1600)
    assert decode(jpeg, at_least=(200, 100)).size == (100, 200)
    assert decode(jpeg, at_least=(201, 100)).size == (200, 400)
    assert decode(jpeg, at_least=(1600, 800)).size == (800, 1600)


def test_the_draft_knows_of_the_rotation() -> None:
    """A file of 1600 × 800 that stands upright as 800 × 1600: height 400 allows a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encoded(red_left(1600, 800), "JPEG", exif=exif)
    assert decode(jpeg, at_least=(400, 100)).size == (200, 400)


def test_equal_content_has_one_hash(tmp_path: Path) -> None:
    """A copy under another name, and its bytes; not its first half, not another shape."""
    first, copy = tmp_path / "a.png", tmp_path / "b.png"
    red_left().save(first)
    copy.write_bytes(first.read_bytes())
    assert row_hash(first) == row_hash(copy) == row_hash(first.read_bytes())
    assert row_hash(first) != row_hash(first.read_bytes()[:-1])
    assert row_hash(np.zeros((2, 3))) != row_hash(np.zeros((3, 2)))
    assert row_hash(np.zeros(4, np.float32)) != row_hash(np.zeros(2, np.float64))
    assert row_hash(np.eye(3)) == row_hash(np.asfortranarray(np.eye(3)))
    assert row_hash(red_left()) != row_hash(red_left().convert("L"))


def test_a_view_is_named_by_its_seed() -> None:
    """Same seed, same pixels; other seed, others; the size is (height, width)."""
    picture = Image.effect_noise((40, 30), 60).convert("RGB")
    one, same, other = (view(picture, (24, 32), seed) for seed in (b"a", b"a", 2))
    assert one.size == (32, 24)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_crops_stay_inside_and_keep_half_the_area() -> None:
    """A hundred boxes of a 40 × 30 picture for a square view."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        left, top, right, bottom = crop_box((30, 40), (8, 8), rng)
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 30
        assert (right - left) * (bottom - top) >= 0.4 * 40 * 30  # a side may meet the border


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), 0.2, dtype=np.float32),
        Image.fromarray(np.full((4, 4), 0.2, dtype=np.float32)),  # mode F
        Image.fromarray(np.full((4, 4), 0.2 * 65535, dtype=np.int32)),  # mode I
        np.full((4, 4), 51, dtype=np.int64),
    ],
)
def test_a_dark_picture_is_dark_whatever_its_largest_value(values: object) -> None:
    """The type tells what white is: 1, 1, 65,535 and 255."""
    assert decode(values).getpixel((0, 0)) == (51, 51, 51)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (np.full((2, 2), 200.0), "floats from 200 to 200, expected 0 to 1"),
        (Image.fromarray(np.full((2, 2), 200.0, dtype=np.float32)), "floats .* expected 0 to 1"),
        (Image.fromarray(np.full((2, 2), 70_000, dtype=np.int32)), "expected 0 to 65,535"),
        (np.full((2, 2), 300), "expected 0 to 255"),
    ],
)
def test_values_outside_of_the_range_of_their_type_are_refused(row: object, why: str) -> None:
    """Nothing is scaled by its own maximum."""
    with pytest.raises(UnreadableRow, match=why):
        decode(row)


def test_pictures_that_look_unlike_have_unlike_hashes() -> None:
    """One index in two palettes, two orientations, seen and unseen; the same look is one hash."""
    red, blue = (Image.new("P", (4, 4), 0) for _ in range(2))
    red.putpalette([*RED])
    blue.putpalette([*BLUE])
    assert row_hash(red) != row_hash(blue)
    assert row_hash(red) == row_hash(Image.new("RGB", (4, 4), RED))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = Image.open(io.BytesIO(encoded(red_left(), "PNG", exif=exif)))
    assert row_hash(turned) == row_hash(red_left().transpose(Image.Transpose.ROTATE_180))
    assert row_hash(turned) != row_hash(red_left())
    clear = red.copy()
    clear.info["transparency"] = 0
    assert row_hash(clear) != row_hash(red)


def test_pillow_is_silenced_when_the_package_is_imported_and_not_by_decoding() -> None:
    """A filter that a thread sets is set for, or lost by, all others."""
    code = (
        "import warnings, headstart.data.pictures as p\n"
        "set_before = list(warnings.filters)\n"
        "assert any(f[3] and f[3].pattern.startswith('PIL') for f in set_before)\n"
        "warnings.filterwarnings = None\n"
        f"p.decode({encoded(red_left(), 'PNG')!r})\n"
        "assert warnings.filters == set_before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
