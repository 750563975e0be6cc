"""One place sets how many threads PyTorch computes with."""

from drake.common.threads import single_thread, threads, use_threads


def test_a_single_thread_inside_and_the_number_from_before_afterwards():
    before = threads()
    try:
        use_threads(2)
        with single_thread():
            assert threads() == 1
        assert threads() == 2
    finally:
        use_threads(before)
