"""Figures are what their plain definitions give, and their intervals have the width they should."""

import numpy as np
import pytest

from trans3dhead_training.core import metrics
from trans3dhead_training.evaluation import bootstrap
from trans3dhead_training.reports.evaluation_report import by_yaw

ONCE = np.ones((1, 200))


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, size=200)


def test_weights_count_a_face_as_often_as_it_was_drawn():
    few = np.array([[1.0, 5.0], [2.0, np.nan], [9.0, 9.0]])
    weights = np.array([[1.0, 1, 1], [2, 0, 1], [0, 3, 0]])
    np.testing.assert_allclose(bootstrap.mean(few)(weights), [26 / 5, 30 / 6, 2])
    np.testing.assert_allclose(bootstrap.quantile(few, 0.5)(weights), [5, 5, 2])
    np.testing.assert_allclose(
        bootstrap.ratio(np.array([1.0, 2, 4]), np.array([2.0, 2, np.nan]))(weights), [.75, .5, 1])
    assert np.isnan(bootstrap.mean(np.array([1.0, np.nan, 1]))(np.array([[0.0, 1, 0]]))).all()


def test_a_slope_is_that_of_the_regression_line():
    generator = np.random.default_rng(3)
    true = generator.uniform(-40, 40, 200)
    answered = 0.8 * true + 3 + generator.normal(0, 5, 200)
    assert bootstrap.slope(true, answered)(ONCE)[0] == pytest.approx(
        np.polyfit(true, answered, 1)[0])
    twice = np.concatenate([true[:3], true[:1]]), np.concatenate([answered[:3], answered[:1]])
    assert bootstrap.slope(true[:3], answered[:3])(np.array([[2.0, 1, 1]]))[0] == pytest.approx(
        np.polyfit(*twice, 1)[0])
    assert np.isnan(bootstrap.slope(true, np.full(200, np.nan))(ONCE)).all()


def test_an_infinite_error_counts_only_where_its_face_was_drawn():
    found = bootstrap.mean(np.array([1.0, np.inf]))(np.array([[1.0, 1], [2, 0]]))
    assert found.tolist() == [np.inf, 1]


def test_figures_of_all_faces_are_the_plain_ones():
    v = values()
    assert bootstrap.mean(v)(ONCE)[0] == pytest.approx(v.mean())
    assert bootstrap.quantile(v, 0.9)(ONCE)[0] == np.sort(v)[179]
    scores, label = np.round(np.random.default_rng(1).normal(size=200), 1), np.arange(200) % 2 == 0
    area = bootstrap.roc_auc(np.where(label, scores, np.nan), np.where(label, np.nan, scores))
    assert area(ONCE)[0] == pytest.approx(metrics.roc_auc(scores, label))
    yaw = np.random.default_rng(2).uniform(-100, 100, 200)
    found = {name: float(statistic(ONCE)[0]) for name, statistic in by_yaw(v, yaw).items()}
    assert found == pytest.approx(metrics.mean_by_yaw(v, yaw))


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide():
    v = values()
    found = bootstrap.estimate({'mean': bootstrap.mean(v)}, [str(i) for i in range(200)], 2000)
    low, high = found['mean'].interval
    assert found['mean'].value == pytest.approx(v.mean())
    assert (high - low) / (2 * 1.96 * v.std() / np.sqrt(200)) == pytest.approx(1, abs=0.1)


def test_faces_of_one_photograph_are_drawn_together():
    v = np.repeat(values()[:50], 4)
    one_by_one = bootstrap.estimate(
        {'mean': bootstrap.mean(v)}, [str(i) for i in range(200)], 1000)['mean'].interval
    together = bootstrap.estimate(
        {'mean': bootstrap.mean(v)}, [str(i // 4) for i in range(200)], 1000)['mean'].interval
    # Four equal faces of a photograph say no more than one.
    assert np.ptp(together) / np.ptp(one_by_one) == pytest.approx(2, abs=0.3)


def test_the_same_seed_draws_the_same_faces_whatever_the_memory(monkeypatch):
    groups = [str(i // 3) for i in range(200)]
    whole = np.concatenate(list(bootstrap.bootstrap_weights(groups, 50, seed=3)))
    monkeypatch.setattr(bootstrap, '_CHUNK', 200 * 7)
    parts = list(bootstrap.bootstrap_weights(groups, 50, seed=3))
    assert len(parts) == 8
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.sum(axis=1) > 150).all() and not np.array_equal(whole[0], whole[1])


def test_no_draws_make_no_interval():
    found = bootstrap.estimate({'mean': bootstrap.mean(values())}, ['a'] * 200)
    assert found['mean'].interval is None


def test_a_bin_that_some_draws_leave_empty_has_no_interval():
    rare = by_yaw(np.array([1.0, 1, 5]), np.array([0.0, 0, 70]))
    found = bootstrap.estimate(rare, ['a', 'b', 'c'], 200)
    assert found['mean'].value == 3 and found['mean'].interval is None
