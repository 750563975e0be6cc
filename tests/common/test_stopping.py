"""The first signal asks, the run stops at its next safe point; the second stops at once."""

import os
import signal
import threading

import pytest

from drake.common.stopping import gracefully, safe_point


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_at_the_next_safe_point_and_not_before(number, capsys):
    done = []
    with pytest.raises(KeyboardInterrupt), gracefully():  # noqa: PT012
        safe_point()
        os.kill(os.getpid(), number)
        done.append("the step")
        safe_point()
        done.append("the next step")
    assert done == ["the step"]
    assert number.name in capsys.readouterr().err


def test_whoever_asks_is_told_through_a_function():
    told = []
    with pytest.raises(KeyboardInterrupt), gracefully("this round", told.append):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        safe_point()
    assert told == ["SIGTERM: stopping after this round; a second signal stops at once."]


def test_a_second_signal_stops_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), gracefully():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("first")
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("second")
    assert done == ["first"]


def test_afterwards_signals_do_what_they_did():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), gracefully():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        safe_point()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    safe_point()


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def work():
        with gracefully():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
