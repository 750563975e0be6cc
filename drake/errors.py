"""Errors that a user's input causes. Any module may raise them; only the command line catches them."""


class DrakeError(Exception):
    """An error in the input, as one sentence: what is wrong, where, what to do. The command line prints it and exits
    with status 2."""


class UnknownName(DrakeError):
    """A name that does not exist; the message gives the nearest known name, or all of them."""

    def __init__(self, kind: str, name: str, known: list[str]):
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}."
        super().__init__(f"unknown {kind} {name!r}; {hint}")
