"""extras.py: what is missing is said, what is broken is repaired."""

import logging
import subprocess
import sys

import pytest

from headstart.errors import MissingExtra
from headstart.extras import ensure_torchvision, import_transformers, need, quiet


def test_a_missing_library_names_its_extra():
    with pytest.raises(MissingExtra, match="not installed") as caught:
        need("no_such_library.part", "parquet")
    assert "pip install 'headstart[parquet]'" in str(caught.value)


def test_a_broken_library_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "brokenlibrary.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"cannot be imported.*no_such_library"):
        need("brokenlibrary", "parquet")


def test_the_doors_work_in_a_fresh_process():
    code = (
        "from headstart.extras import ensure_torchvision, import_timm, import_transformers\n"
        "import_timm().create_model; import_transformers().BertModel\n"
        "import torchvision.transforms\n"
        "print(ensure_torchvision())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() in ("ok", "repaired"), done.stderr
    assert done.stderr == ""


def test_repairing_twice_changes_nothing():
    assert ensure_torchvision() == ensure_torchvision()


def test_what_a_person_hears_of_other_libraries_is_as_before():
    bars = import_transformers().logging
    for library in ("timm", "transformers"):
        logger = logging.getLogger(library)
        before = logger.level, bars.is_progress_bar_enabled()
        with quiet(library):
            assert logger.level == logging.ERROR
            assert library == "timm" or not bars.is_progress_bar_enabled()
        assert (logger.level, bars.is_progress_bar_enabled()) == before
    assert before == (logging.WARNING, True)


def test_bars_that_a_person_hid_stay_hidden():
    hub = pytest.importorskip("huggingface_hub").utils
    hub.disable_progress_bars()
    try:
        with quiet("transformers"):
            pass
        assert hub.are_progress_bars_disabled()
    finally:
        hub.enable_progress_bars()
