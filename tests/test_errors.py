"""What is raised in another process comes back as it was."""

import inspect
import pickle

import pytest

from headstart import errors

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.HeadstartError)
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_comes_back_from_another_process(kind):
    error = kind("a.png", "no picture") if kind is errors.UnreadableRow else kind("a.png: broken")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
