"""Session: what torch keeps for the whole process, and a person may have set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from headstart.machine import n_threads
from headstart.steps.saved import random_states, set_random_states


@contextmanager
def restored() -> Iterator[None]:
    """Compute with as many threads as we may, draw what we like, and then put back what was.

    Whoever draws random numbers after a fit goes on from where they were, also where it broke.
    """
    random, threads = random_states(), torch.get_num_threads()
    torch.set_num_threads(n_threads())
    try:
        yield
    finally:
        set_random_states(random)
        torch.set_num_threads(threads)
