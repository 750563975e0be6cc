"""The clients of a run and when they take part, as the Config says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drake.config import Config
from drake.errors import DrakeError
from drake.federation.participation import EVERYONE, Participation


def participation_of(config: Config, pooled: bool) -> Participation:
    """Who takes part. pooled: whether the method trains one model for all clients of a backbone, which then all must;
    DrakeError otherwise."""
    given = asdict(config.participation)
    late = tuple((int(client), start - 1) for client, start in given.pop("late").items())
    found = Participation(*given.values(), late=late)
    if pooled and found != EVERYONE:
        raise DrakeError(
            f"{config.method} trains one model for all clients of a backbone; leave --participation, "
            "--client-dropout, --deadline and --late-clients out."
        )
    return found


def check_untrained(config: Config, participation: Participation) -> None:
    """DrakeError for settings that mean nothing where nobody trains."""
    if participation != EVERYONE:
        raise DrakeError(
            f"{config.method} trains nobody; leave --participation, --client-dropout, --deadline and --late-clients "
            "out."
        )
    if len(config.seeds) > 1:
        raise DrakeError(f"{config.method} trains nothing, so every seed gives the same scores; name one in --seeds.")


def check_participation(participation: Participation, clients: int, rounds: int) -> None:
    """DrakeError for absent or late clients that do not exist, or that leave nobody to train."""
    named = [("participation.absent", client) for client in participation.absent]
    named += [("--late-clients", client) for client, _ in participation.late]
    for what, client in named:
        if client >= clients:
            raise DrakeError(f"{what} names client {client}; the clients are 0 to {clients - 1}.")
    if len(participation.absent) == clients:
        raise DrakeError("participation.absent names every client; leave one to train.")
    for client, start in participation.late:
        if client in participation.absent:
            raise DrakeError(f"client {client} is in participation.absent and in --late-clients; leave it out of one.")
        if start >= rounds:
            raise DrakeError(
                f"--late-clients lets client {client} begin in round {start + 1}, but the run has {rounds}; name an "
                "earlier round."
            )


def attendance(participation: Participation) -> dict[str, Any]:
    """The participation in a run's identity; absent and late clients are named only where there are any."""
    found = {key: value for key, value in asdict(participation).items() if value != ()}
    if participation.late:
        found["late"] = {str(client): start + 1 for client, start in participation.late}
    return found
