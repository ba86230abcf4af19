"""How long the report takes to open in Chromium, and how large it is, with eight thumbnails.

A page of our own holds the report in a frame and writes down when it was loaded; the browser prints
that page. The study behind the report is the one made by hand that the tests use; its mistakes
are real photos.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.measure import ROOT, Row, Skip, Study, data_folder, scratch_folder

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
    "--allow-file-access-from-files", "--dump-dom",
)  # fmt: skip
LOOK = """<!doctype html><iframe id="frame" width="1000" height="850"></iframe><pre id="ms"></pre>
<script>
const frame = document.getElementById("frame"), start = performance.now();
frame.onload = () => { document.getElementById("ms").textContent = performance.now() - start; };
frame.src = "report.html";
</script>"""


def study(repeats: int) -> Study:
    """Open the page in a fresh browser each time."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise Skip("no Chromium")
    with scratch_folder() as folder:
        page = _page()
        (folder / "report.html").write_text(page, encoding="utf-8")
        (folder / "look.html").write_text(LOOK, encoding="utf-8")
        opened = tuple(_opened(browser, folder) for _ in range(max(5, repeats)))
    bare = re.sub(r'src="data:image/[^"]*"', "", page)
    return Study(
        "The report of a study, opened in headless Chromium.",
        (
            Row("until it is loaded", opened, "ms", at_most=1000),
            Row("the page without thumbnails", (len(bare.encode()) / 1000,), "kB", at_most=300),
            Row("the page", (len(page.encode()) / 1000,), "kB"),
        ),
    )


def _page() -> str:
    from headstart.evidence.report import html

    pictures = sorted(data_folder("hymenoptera").glob("val/*/*.jpg"))[:60]
    return html(_toy_study().toy_evidence(names=tuple(map(str, pictures))), run="runs/pets")


def _toy_study() -> Any:
    """Return the tests' study made by hand; another package may be called `tests`, too."""
    spec = importlib.util.spec_from_file_location("toy_study", ROOT / "tests" / "toy_study.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _opened(browser: str, folder: Path) -> float:
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}",
               (folder / "look.html").as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    found = re.search(r'<pre id="ms">([\d.]+)</pre>', done.stdout)
    if found is None:
        raise RuntimeError(f"the page was not loaded: {done.stderr[-1000:]}")
    return float(found.group(1))
