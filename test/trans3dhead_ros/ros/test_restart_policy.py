"""A crashed tracker is started again, a refused start is not, and there is a limit."""

import pytest

from trans3dhead_ros.ros.restart_policy import RestartPolicy


def test_a_crash_is_followed_by_a_restart_up_to_the_limit():
    policy = RestartPolicy(2)
    assert 'exit code -9' in policy.after_exit(-9)
    assert policy.after_exit(1).endswith('2 of 2 within five minutes')
    assert policy.restarts == 2
    with pytest.raises(RuntimeError, match='more often than respawn_limit, 2 times'):
        policy.after_exit(1)


def test_a_tracker_that_was_asked_to_stop_is_not_restarted():
    assert not RestartPolicy(2).after_exit(0)


def test_a_refused_start_is_an_error_at_once():
    with pytest.raises(RuntimeError, match='could not start'):
        RestartPolicy(2).after_exit(2)


def test_without_restarts_the_first_crash_is_an_error():
    with pytest.raises(RuntimeError, match=r'has crashed \(exit code -6\)$'):
        RestartPolicy(0).after_exit(-6)
