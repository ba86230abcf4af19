"""The five gains, on curves that can be read off by eye."""

import math

import pytest

from headstart.metrics.curve import Curve
from headstart.metrics.gains import (
    Needed,
    TimeTo,
    asymptote,
    jumpstart,
    labels_saved,
    slope,
    threshold,
    time_to_threshold,
    transfer_ratio,
)

NAN = float("nan")
SCRATCH = Curve(seen=(10, 20, 40, 80), score=(0.2, 0.4, 0.6, 0.8))


def test_jumpstart_is_paired_over_seeds():
    assert jumpstart(0.9, 0.4) == pytest.approx(0.5)
    assert jumpstart([0.9, 0.7], [0.4, 0.6]) == pytest.approx(0.3)


def test_a_slope_counts_doublings_not_rows():
    slow = Curve(seen=(1000, 2000, 4000, 8000), score=SCRATCH.score)
    assert slope(SCRATCH, SCRATCH).transfer == pytest.approx(0.2)
    assert slope(slow, slow).transfer == pytest.approx(0.2)


def test_a_slope_is_taken_up_to_the_earlier_of_both_arms():
    # Scratch has 0.9 · 0.8 after 80 rows, transfer 0.9 · 1.0 after 40: its flat end is left out.
    transfer = Curve(seen=(10, 20, 40, 80), score=(0.3, 0.6, 0.9, 1.0))
    found = slope(transfer, SCRATCH)
    assert found.until == 40
    assert (found.transfer, found.control) == pytest.approx((0.3, 0.2))
    assert found.gain == pytest.approx(0.1)
    assert slope(SCRATCH, transfer).gain == pytest.approx(-0.1)


def test_a_high_start_lowers_the_slope_but_not_the_area():
    transfer = Curve(seen=(10, 20, 40, 80), score=(0.8, 0.8, 0.8, 0.8))
    found = slope(transfer, SCRATCH)
    assert found.until == 20  # already there at 10, and a line needs two points
    assert found.gain == pytest.approx(-0.2)
    assert found.area == pytest.approx(0.6 * 3 / 2)  # a triangle over three doublings


def test_the_area_is_over_what_both_curves_cover():
    transfer = Curve(seen=(20, 80, 160), score=(0.5, 0.9, 0.9))
    # From 20 to 80: 0.1 at both ends and at 40, where transfer is on its line at 0.7.
    assert slope(transfer, SCRATCH).area == pytest.approx(0.1 * 2)


def test_arms_measured_at_other_points_still_have_slopes():
    transfer = Curve(seen=(15, 30, 60), score=(0.5, 0.6, 0.7))
    found = slope(transfer, SCRATCH)
    assert found.until == 60
    assert (found.transfer, found.control) == pytest.approx((0.1, 0.2))


def test_a_point_has_no_slope():
    found = slope(Curve(seen=(10,), score=(0.9,)), SCRATCH)
    assert math.isnan(found.transfer) and math.isnan(found.gain)
    assert found.control == pytest.approx(0.2)


def test_a_score_before_the_first_row_has_no_place_among_doublings():
    start = Curve(seen=(0, *SCRATCH.seen), score=(0.1, *SCRATCH.score))
    assert slope(start, SCRATCH).gain == pytest.approx(0)
    assert labels_saved(start, SCRATCH).transfer.rows == pytest.approx(80)


def test_scores_below_zero_have_slopes_too():
    bad = Curve(seen=(10, 20, 40), score=(-3.0, -2.0, -1.0))  # R² may be
    assert slope(bad, bad).until == 40
    assert slope(bad, bad).transfer == pytest.approx(1)


def test_an_arm_that_diverged_has_no_gain():
    broken = Curve(seen=(10, 20), score=(NAN, NAN))
    assert math.isnan(slope(SCRATCH, broken).gain)
    assert math.isnan(asymptote(SCRATCH, broken, patience=1).gain)
    assert math.isnan(transfer_ratio(SCRATCH, broken))
    assert time_to_threshold(broken, 0.5) == TimeTo(None, None, None)


def test_the_asymptote_is_that_of_the_weights_kept():
    transfer = Curve(seen=(1, 2, 3), score=(0.5, 0.9, 0.8), loss=(0.9, 0.4, 0.6))
    control = Curve(seen=(1, 2, 3), score=(0.4, 0.6, 0.7), loss=(0.9, 0.5, 0.6))
    found = asymptote(transfer, control, patience=1)
    assert found.gain == pytest.approx(0.3)
    assert not found.is_provisional
    assert str(found) == "+0.300"


@pytest.mark.parametrize(
    ("transfer", "control", "words"),
    [(2, 1, "at most +0.200"), (1, 2, "at least +0.200"), (1, 1, "about +0.200")],
)
def test_an_arm_stopped_by_its_cap_bounds_the_gain(transfer, control, words):
    high = Curve(seen=(1, 2)[:transfer], score=(0.8, 0.8)[:transfer])
    low = Curve(seen=(1, 2)[:control], score=(0.6, 0.6)[:control])
    found = asymptote(high, low, patience=1)
    assert found.is_provisional
    assert str(found) == words


def test_the_threshold_is_asked_for_or_follows_scratch():
    assert threshold(SCRATCH) == pytest.approx(0.76)
    assert threshold(SCRATCH, target=0.5) == 0.5
    assert threshold(Curve(seen=(1,), score=(-1.0,))) == -1.0


def test_time_to_threshold_is_warm_and_cold():
    curve = Curve(seen=(10, 20), score=(0.5, 0.9), seconds=(1.0, 2.0))
    assert time_to_threshold(curve, 0.9, preparation_s=30) == TimeTo(20, 2.0, 32.0)
    assert time_to_threshold(SCRATCH, 0.6) == TimeTo(40, None, None)  # seconds were not measured


def test_labels_are_saved_in_both_directions():
    transfer = Curve(seen=(10, 20, 40, 80), score=(0.6, 0.7, 0.8, 0.9))
    found = labels_saved(transfer, SCRATCH, n=20)
    assert found.control.rows == pytest.approx(40 * math.sqrt(2))  # 0.7 is halfway to 0.8
    assert found.extra == pytest.approx(40 * math.sqrt(2) - 20)
    assert str(found.transfer) == "≤ 10" and found.saved == 10
    assert labels_saved(transfer, SCRATCH).saved == pytest.approx(40)


def test_never_is_more_than_what_was_tried():
    best = Curve(seen=(10, 80), score=(0.9, 0.95))
    ahead = labels_saved(best, SCRATCH)
    assert str(ahead.control) == "> 80" and ahead.extra is None
    assert str(ahead).endswith("≤ 10 to match scratch at 80: ≥ 70 saved")
    behind = labels_saved(SCRATCH, best)
    assert str(behind.transfer) == "> 80" and behind.saved is None
    assert str(behind).endswith("> 80 to match scratch at 80: none saved")


def test_transfer_that_needs_more_labels_saves_less_than_none():
    found = labels_saved(SCRATCH, Curve(seen=(10, 80), score=(0.8, 0.9)), n=10)
    assert found.transfer == Needed(pytest.approx(80), 10, 80)
    assert found.saved == pytest.approx(-70)


def test_noise_that_falls_back_does_not_count():
    noisy = Curve(seen=(10, 20, 40, 80), score=(0.5, 0.8, 0.7, 0.9))
    assert labels_saved(noisy, SCRATCH).transfer.rows == pytest.approx(20)


def test_an_arm_that_diverged_is_matched_by_any_labels():
    broken = Curve(seen=(10, 80), score=(0.3, NAN))
    assert str(labels_saved(SCRATCH, broken).transfer) == "≤ 10"
    healed = Curve(seen=(10, 40, 80), score=(NAN, 0.9, 0.9))
    assert labels_saved(healed, SCRATCH).transfer.rows == 40


def test_labels_are_compared_where_both_were_tried():
    starved = Curve(seen=(10, 40), score=(0.2, 0.6))
    assert labels_saved(SCRATCH, starved).n == 40
    with pytest.raises(ValueError, match=r"n=60: expected from 10 to 40"):
        labels_saved(SCRATCH, starved, n=60)


def test_the_transfer_ratio_is_of_areas_over_rows():
    flat = Curve(seen=(10, 80), score=(0.8, 0.8))
    # Scratch has 0.3 · 10 + 0.5 · 20 + 0.7 · 40 = 41, flat 0.8 · 70 = 56.
    assert transfer_ratio(flat, SCRATCH) == pytest.approx(15 / 41)
    assert transfer_ratio(SCRATCH, flat) == pytest.approx(-15 / 56)
    assert math.isnan(transfer_ratio(flat, Curve(seen=(10, 80), score=(0.0, 0.0))))
