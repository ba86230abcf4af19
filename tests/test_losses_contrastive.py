"""The contrastive term: pairs of a batch, like and unlike."""

import pytest
import torch

from headstart.losses.contrastive import Contrastive
from headstart.losses.loss import Step


def step(features, targets, weight=None) -> Step:
    values = torch.tensor(features, dtype=torch.float32)
    of_row = torch.ones(len(values)) if weight is None else torch.tensor(weight)
    zeros = torch.zeros(len(values))
    return Step(values, zeros[:, None], torch.tensor(targets), zeros, of_row)


RIGHT = [[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]]  # lengths say nothing


def test_like_rows_side_by_side_and_unlike_ones_at_right_angles_cost_nothing():
    assert float(Contrastive()(step(RIGHT, [0, 0, 1]))) == pytest.approx(0.0, abs=1e-6)


def test_like_pairs_count_as_much_as_unlike_ones_however_few():
    # like: (0, 2) has cosine 0, an error of 1; unlike: (0, 1) has cosine 1, (1, 2) none: 1/2
    assert float(Contrastive()(step(RIGHT, [0, 1, 0]))) == pytest.approx(1.5)


def test_pairs_are_weighed_by_both_rows_and_rows_without_a_label_are_in_none():
    few = [*RIGHT, [1.0, 0.0]]
    left_out = step(few, [0, 1, 0, -1])
    weighed = step(few, [0, 1, 0, 1], [1.0, 1.0, 1.0, 0.0])
    assert float(Contrastive()(left_out)) == float(Contrastive()(weighed)) == pytest.approx(1.5)


def test_rows_of_one_class_or_one_row_a_class_cost_a_number():
    assert float(Contrastive()(step(RIGHT, [0, 0, 0]))) == pytest.approx(2 / 3)
    assert float(Contrastive()(step(RIGHT, [0, 1, 2]))) == pytest.approx(1 / 3)


def test_a_step_along_it_brings_like_rows_together():
    features = torch.tensor([[1.0, 0.1], [0.1, 1.0]], requires_grad=True)
    zeros = torch.zeros(2)
    cost = Contrastive()(Step(features, zeros[:, None], torch.tensor([4, 4]), zeros, torch.ones(2)))
    cost.backward()
    moved = (features - 0.1 * features.grad).detach()
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(moved[0], moved[1], dim=0) > cosine(features[0], features[1], dim=0)
