"""What every test stands on: its own home, no network, two threads."""

import os

# Read by the libraries when they are imported, so before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
os.environ["HEADSTART_THREADS"] = "2"
os.environ["HEADSTART_DEVICE"] = os.environ.get("HEADSTART_DEVICE", "cpu")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "2")
os.environ.pop("HEADSTART_STORE", None)

import pytest  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def session_home(tmp_path_factory):
    """A home that no other session shares; tests of one session may reuse what is in it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_HOME", str(home))
        yield home


@pytest.fixture
def fresh_home(tmp_path, monkeypatch):
    """A home that this test alone uses, empty at its start."""
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """The URL of a PostgreSQL on loopback, for this session alone; skipped if there is none."""
    from tests.postgresql import server

    with server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url
