"""Who takes part in a round: shares, drops and deadlines, drawn from the seed and the round alone."""

from types import SimpleNamespace

import pytest

from drake.errors import DrakeError
from drake.federation.participation import EVERYONE, Participation


def federation(clients=20, seed=0, layers=(8, 14)):
    return SimpleNamespace(
        clients=[SimpleNamespace(id=i) for i in range(clients)],
        seed=seed,
        architecture=lambda i: SimpleNamespace(num_layers=layers[i % len(layers)]),
    )


def test_by_default_everyone_is_there():
    assert EVERYONE.present(federation(), 3) == frozenset(range(20))


def test_the_asked_share_is_exact_and_changes_from_round_to_round():
    half = Participation(participation=0.5)
    rounds = [half.present(federation(), round) for round in range(50)]
    assert {len(there) for there in rounds} == {10}
    assert len(set(rounds)) > 40
    assert set().union(*rounds) == set(range(20))
    assert len(Participation(participation=0.01).present(federation(), 0)) == 1
    assert len(Participation(participation=0.5).present(federation(clients=5), 0)) == 3


def test_the_draw_depends_on_seed_and_round_alone():
    some = Participation(0.5, 0.2, 1.5)
    assert some.present(federation(), 7) == some.present(federation(), 7)
    assert some.present(federation(seed=1), 7) != some.present(federation(), 7)


def test_asked_clients_fail_with_the_given_probability():
    there = [len(Participation(dropout=0.25).present(federation(), round)) for round in range(400)]
    assert sum(there) / 400 == pytest.approx(15, abs=0.3)


def test_a_deadline_drops_the_slow_and_among_them_more_of_the_large():
    rounds = [Participation(deadline=1.5).present(federation(400), round) for round in range(20)]
    small, large = (sum(i % 2 == parity for there in rounds for i in there) for parity in (0, 1))
    assert 2000 < large < small < 4000
    always = frozenset.intersection(*rounds)
    assert len(always) > 100  # slowness is mostly the client's own, not the round's
    assert Participation(deadline=100.0).present(federation(), 0) == frozenset(range(20))
    assert Participation(deadline=0.01).present(federation(), 0) == frozenset()


@pytest.mark.parametrize("wrong", [{"participation": 0}, {"participation": 1.1}, {"dropout": 1}, {"deadline": 0}])
def test_impossible_numbers_are_refused(wrong):
    option = {"dropout": "--client-dropout"}.get(next(iter(wrong)), f"--{next(iter(wrong))}")
    with pytest.raises(DrakeError, match=f"^{option} is"):
        Participation(**wrong)


def test_a_late_client_is_absent_until_its_first_round():
    late = Participation(late=((3, 2), (5, 4)))
    assert [{3, 5} & late.present(federation(), round) for round in range(5)] == [set(), set(), {3}, {3}, {3, 5}]
    assert late.present(federation(), 0) == frozenset(range(20)) - {3, 5}


def test_a_round_before_anybody_has_begun_has_no_participants():
    late = Participation(late=tuple((client, 1) for client in range(20)))
    assert late.present(federation(), 0) == frozenset()
    assert late.present(federation(), 1) == frozenset(range(20))


def test_the_draws_of_a_round_with_all_clients_are_those_without_late_ones():
    late = Participation(participation=0.5, dropout=0.2, late=((3, 2),))
    assert late.present(federation(), 2) == Participation(participation=0.5, dropout=0.2).present(federation(), 2)
