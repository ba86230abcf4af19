"""The report in a real browser: quiet, whole, readable at every width, in light and in dark.

A page of our own holds the report in a frame, looks into it, and writes down what it sees; Chromium
prints that page. So the browser needs no driver and the report no script.
"""

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

from headstart.evidence import report
from tests.toy_study import toy_evidence

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1100,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr",
)  # fmt: skip

#: Loads the report in a frame of some width and writes what is seen there.
LOOK = """<!doctype html><meta charset="utf-8"><title>look</title>
<iframe id="frame" width="WIDTH" height="850"></iframe><pre id="seen"></pre>
<script>
const frame = document.getElementById("frame"), start = performance.now();
frame.onload = () => {
  const page = frame.contentDocument, view = frame.contentWindow;
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = color => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = color => {
    const [r, g, b] = rgba(color).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const color = view.getComputedStyle(node).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    return "white";
  };
  const faint = [];
  for (const node of page.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !node.getClientRects().length || node.textContent.trim() === "·") continue;
    const style = view.getComputedStyle(node);
    const [a, b] = [light(node.closest("svg") ? style.fill : style.color), light(behind(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push([node.textContent.trim().slice(0, 30), +contrast.toFixed(2)]);
  }
  const title = page.getElementById("verdict"), box = title.getBoundingClientRect();
  const top = page.elementFromPoint(box.left + 5, box.top + 5);
  document.getElementById("seen").textContent = JSON.stringify({
    verdict: title.textContent,
    is_visible: top === title && box.height > 0 && box.bottom < 850,
    wide: [...page.querySelectorAll(".wide")].filter(n => n.getClientRects().length).length,
    narrow: [...page.querySelectorAll(".narrow")].filter(n => n.getClientRects().length).length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    background: view.getComputedStyle(page.body).backgroundColor,
    smallest: Math.min(...[...page.querySelectorAll("svg text")]
      .filter(n => n.getClientRects().length).map(n => n.getBoundingClientRect().height)),
    unnamed: [...page.querySelectorAll("svg")].filter(n =>
      !n.getAttribute("aria-label") && n.getAttribute("aria-hidden") !== "true").length,
    faint, ms: performance.now() - start,
  });
};
frame.src = "/report.html";
</script>"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves pages from memory and remembers what was asked for."""

    def __init__(self, pages, asked, *args):
        self.pages, self.asked = pages, asked
        super().__init__(*args)

    def do_GET(self):
        self.asked.append(self.path)
        page = self.pages.get(self.path.partition("?")[0])
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((page or "").encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(pages):
    """Serve pages on the loopback; yield the port and the list of what was asked for."""
    asked = []
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, pages, asked)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


def chromium(url, folder, *flags):
    """Open an address in a fresh Chromium; return its process when it is done."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def look(page, folder, width=1000, *flags):
    """Return what is seen of a page, what the console said, and what was asked of the server."""
    pages = {"/": LOOK.replace("WIDTH", str(width)), "/report.html": page}
    with served(pages) as (port, asked):
        done = chromium(f"http://127.0.0.1:{port}/", folder, "--dump-dom", *flags)
    said = re.findall(r'CONSOLE[^"]*"(.*)"', done.stderr)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    text = found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    asked = [path for path in asked if path not in ("/", "/favicon.ico")]
    return json.loads(text), said, asked


@pytest.fixture(scope="module")
def page():
    return report.html(toy_evidence(), run="runs/pets")


def test_it_is_quiet_whole_and_readable(page, tmp_path):
    seen, said, asked = look(page, tmp_path)
    assert said == []
    assert asked == ["/report.html"]
    assert seen["is_visible"] and "26 more of every 100 pictures" in seen["verdict"]
    assert seen["wide"] >= 3 and seen["narrow"] == 0
    assert seen["overflow"] <= 0 and seen["unnamed"] == 0
    assert seen["faint"] == []
    assert seen["background"] == "rgb(252, 252, 250)"


def test_it_is_readable_on_a_phone(page, tmp_path):
    seen, said, _ = look(page, tmp_path, 360)
    assert said == []
    assert seen["is_visible"]
    assert seen["wide"] == 0 and seen["narrow"] >= 3
    assert seen["overflow"] <= 0
    assert seen["smallest"] >= 11


def test_it_is_readable_in_the_dark(page, tmp_path):
    seen, said, _ = look(page, tmp_path, 1000, "--blink-settings=preferredColorScheme=0")
    assert said == []
    assert seen["background"] == "rgb(19, 22, 21)"
    assert seen["faint"] == []


def test_what_gets_in_can_do_nothing(page, tmp_path):
    spy = (
        '<img src="/spy.png"><script src="/spy.js"></script><script>document.title="x"</script>'
        '<link rel="stylesheet" href="/spy.css"><p style="background:url(/spy.gif)">.</p>'
    )
    seen, said, asked = look(page.replace("</main>", spy + "</main>"), tmp_path)
    assert asked == ["/report.html"]
    assert len([line for line in said if "Content Security Policy" in line]) >= 4
    assert seen["is_visible"]


def test_the_watch_would_see_a_request(page, tmp_path):
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    spied = open_page.replace("</main>", '<img src="/spy.png"><script>console.error("hi")</script>')
    _, said, asked = look(spied, tmp_path)
    assert "/spy.png" in asked
    assert any("hi" in line for line in said)


def test_it_prints(page, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    pdf = tmp_path / "report.pdf"
    chromium(path.as_uri(), tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    printed = pdf.read_bytes()
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 12
