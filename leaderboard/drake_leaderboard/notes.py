"""The sentences under the tables of a track."""

from __future__ import annotations

from .entries import Track
from .ranking import Board
from .resolution import resolution


def notes(board: Board, track: Track) -> list[str]:
    """What the scores average, what the letters mean, how small a difference the seeds show, and the digests of the
    data and the settings. None for published results."""
    standing = board.standings.get(track)
    of_answers = [standing.metrics, standing.ties] if standing else []
    return [note for note in (*of_answers, resolution(board.tables[track]), track.details) if note]
