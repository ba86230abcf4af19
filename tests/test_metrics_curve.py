"""Curves, by hand."""

import pytest

from headstart.metrics.curve import Curve


def test_time_to_is_the_first_crossing():
    curve = Curve(seen=(10, 20, 30, 40), score=(0.5, 0.8, 0.7, 0.9))
    assert curve.time_to(0.8) == 20
    assert curve.time_to(0.95) is None
    assert curve.seconds_to(0.95) is None


def test_the_kept_point_is_the_one_of_least_loss():
    curve = Curve(seen=(1, 2, 3), score=(0.5, 0.9, 0.8), loss=(0.9, 0.5, 0.4))
    assert (curve.best, curve.asymptote, curve.jumpstart) == (2, 0.8, 0.5)
    assert Curve(seen=(1, 2, 3), loss=(0.9, 0.4, 0.4)).best == 1


def test_a_point_that_is_no_number_is_never_kept():
    assert Curve(seen=(1, 2), loss=(float("nan"), 0.4)).best == 1


def test_a_curve_that_still_rises_has_not_converged():
    assert not Curve(seen=(1, 2, 3), loss=(0.9, 0.5, 0.4)).has_converged(1)
    assert not Curve().has_converged(1)


def test_points_must_be_as_many_as_rows_seen():
    with pytest.raises(ValueError, match=r"score has 1 points, `seen` has 2"):
        Curve(seen=(1, 2), score=(0.5,))


def test_the_same_training_is_equal_whatever_time_it_took():
    one = Curve(seen=(1, 2), score=(0.5, 0.8), seconds=(1.0, 2.0))
    assert one == Curve(seen=(1, 2), score=(0.5, 0.8), seconds=(1.5, 4.0))
    assert one != Curve(seen=(1, 2), score=(0.5, 0.7), seconds=(1.0, 2.0))
