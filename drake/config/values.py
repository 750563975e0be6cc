"""One value of a setting or of a method's option, read by its type: TOML and Python give typed values, the command line
text. Every error is a sentence that starts with where the value stands."""

from __future__ import annotations

import math
import os.path
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from drake.config.schema import Names, Seeds, Setting, Shares, Starts
from drake.errors import DrakeError, UnknownName

MOST_SEEDS = 10_000
"""Seeds of the longest range: a longer one is a typing error, and would fill the memory."""
MOST_COMMAS = 8
"""Commas of the longest path that is looked for in a list of names."""
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read(kind: Any, value: Any, where: str, setting: Setting | None = None) -> Any:
    """`value` as the type `kind` and within the range of `setting`.

    kind: bool, int, float, str, a Literal, Names, Seeds, Shares, Starts, or a union of such types and None; anything
    else is taken as it is. where: how a sentence names the place, such as "--rank" or "training.rank in my.toml".
    Raises DrakeError or UnknownName.
    """
    found = _read(kind, value, where)
    if setting is not None:
        for number in _values_in(found):
            if isinstance(number, int | float) and not isinstance(number, bool):
                check_range(where, number, setting)
    return found


def _values_in(found: Any) -> Iterable[Any]:
    if isinstance(found, Mapping):
        return cast("Mapping[str, Any]", found).values()
    return cast("tuple[Any, ...]", found) if isinstance(found, tuple) else [found]


def _read(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return _read_union(get_args(kind), value, where)
    if get_origin(kind) is Literal:
        return _read_choice(get_args(kind), value, where)
    readers = {bool: _read_bool, int: _read_int, float: _read_float, str: _read_str}
    readers |= {Names: names_from, Seeds: seeds_from, Shares: shares_from, Starts: starts_from}
    return readers[kind](value, where) if kind in readers else value


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if NoneType in kinds and (value is None or (isinstance(value, str) and value.lower() == "none")):
        return None
    for kind in kinds:
        if get_origin(kind) is Literal and value in get_args(kind):
            return value
    (kind,) = [kind for kind in kinds if kind is not NoneType and get_origin(kind) is not Literal]
    words = [repr(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    try:
        return _read(kind, value, where)
    except DrakeError as error:
        if not words:
            raise
        raise DrakeError(f"{str(error).removesuffix('.')} or {' or '.join(words)}.") from None


def _read_choice(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in choices:
        raise UnknownName(f"value of {where}", str(value), [str(choice) for choice in choices])
    return value


def _wrong(where: str, value: Any, expected: str) -> DrakeError:
    return DrakeError(f"{where} is {value!r}; it must be {expected}.")


def _read_bool(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in BOOLEANS:
        return BOOLEANS[value.lower()]
    raise _wrong(where, value, "true or false")


def _read_int(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) else _exactly(value)
    except (TypeError, ValueError):
        raise _wrong(where, value, "a whole number") from None


def _exactly(value: Any) -> int:
    if not isinstance(value, float) or not value.is_integer():
        raise ValueError
    return int(value)


def _read_float(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong(where, value, "a number")
    try:
        number = float(value)
    except ValueError:
        raise _wrong(where, value, "a number") from None
    if not math.isfinite(number):
        raise _wrong(where, value, "a finite number")
    return number


def _read_str(value: Any, where: str) -> str:
    if not isinstance(value, str | Path):
        raise _wrong(where, value, "text")
    return str(value)


def names_from(value: Any, where: str) -> Names:
    """ "a, b" or ["a", "b"] -> ("a", "b"). DrakeError for anything else, and for no name at all."""
    if isinstance(value, Path):
        value = [value]
    if isinstance(value, str):
        value = _names_in(value)
    if not isinstance(value, list | tuple):
        raise _wrong(where, value, "a list of names")
    names = cast("Sequence[Any]", value)
    if not all(isinstance(name, str | Path) for name in names):
        raise _wrong(where, names, "a list of names")
    found = tuple(str(name) for name in names if str(name))
    if not found:
        raise DrakeError(f"{where} names nothing; name at least one, separated by commas.")
    return found


def _names_in(text: str) -> list[str]:
    """The names between commas; a comma in the path of a folder that exists belongs to the path."""
    parts = text.split(",")
    found: list[str] = []
    while parts:
        for count in range(min(len(parts), MOST_COMMAS + 1), 0, -1):
            name = ",".join(parts[:count]).strip()
            if count == 1 or os.path.isdir(os.path.expanduser(name)):
                found.append(name)
                del parts[:count]
                break
    return found


def seeds_from(value: Any, where: str) -> Seeds:
    """ "0,1,2", "0-2", 3 or [0, 1, 2] -> whole numbers, each once. DrakeError for anything else."""
    if isinstance(value, str):
        seeds = _seeds_in(value, where)
    elif isinstance(value, int) and not isinstance(value, bool):
        seeds = (value,)
    elif isinstance(value, list | tuple | range):
        seeds = tuple(_read_int(seed, where) for seed in cast("Sequence[Any]", value))
    else:
        raise _wrong(where, value, "a list of whole numbers")
    if not seeds:
        raise DrakeError("no seed is given; name at least one, such as --seeds 0.")
    if min(seeds) < 0:
        raise DrakeError(f"seed {min(seeds)} is negative; seeds are whole numbers from zero.")
    if len(set(seeds)) < len(seeds):
        raise DrakeError(f"a seed is named twice in {', '.join(map(str, seeds))}; name each once.")
    return seeds


def _seeds_in(text: str, where: str) -> Seeds:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            if dash and first:
                if not 0 <= int(last) - int(first) < MOST_SEEDS:
                    raise ValueError
                found += range(int(first), int(last) + 1)
            else:
                found.append(int(part))
        except ValueError:
            raise DrakeError(f"{where} {text!r} is no list of numbers; write 0,1,2 or 0-2.") from None
    return tuple(found)


def shares_from(value: Any, where: str) -> Shares:
    """ "llama1b=0.25,llama3b=0.5" or a mapping -> {"llama1b": 0.25, "llama3b": 0.5}. DrakeError for another shape."""
    if isinstance(value, Mapping):
        shares = cast("Mapping[Any, Any]", value)
        return {str(name): _read_float(share, f"{name} of {where}") for name, share in shares.items()}
    found: dict[str, float] = {}
    for part in str(value).split(","):
        name, equals, share = part.strip().partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise DrakeError(f"{where} {value!r} is not of the form llama1b=0.25,llama3b=0.5.")
    return found


def starts_from(value: Any, where: str) -> Starts:
    """ "8=11", "8-9=11" or a mapping -> {"8": 11, "9": 11}: clients by number, each with a round. DrakeError for
    another shape, and for a client that is named twice."""
    if isinstance(value, Mapping):
        given = [(str(client), start) for client, start in cast("Mapping[Any, Any]", value).items()]
    else:
        given = [(part.partition("=")[0].strip(), part.partition("=")[2]) for part in str(value).split(",")]
    found: dict[str, int] = {}
    for clients, start in given:
        try:
            numbers, round = _seeds_in(clients, where), _read_int(start, where)
        except DrakeError:
            raise DrakeError(f"{where} {value!r} is not of the form CLIENT=ROUND, as 8=11 or 8-9=11.") from None
        for number in numbers:
            if str(number) in found:
                raise DrakeError(f"{where} names client {number} twice; give it one first round.")
            found[str(number)] = round
    return found


def check_range(where: str, value: float, setting: Setting) -> None:
    """DrakeError for a number that is not in the range of the setting."""
    above, least, most, below = setting.above, setting.least, setting.most, setting.below
    fits = (above is None or value > above) and (least is None or value >= least)
    if fits and (most is None or value <= most) and (below is None or value < below):
        return
    lower = [f"{'more than' if above is not None else 'at least'} {above if above is not None else least}"]
    upper = [f"at most {most}"] if most is not None else [f"below {below}"] if below is not None else []
    allowed = " and ".join([*(lower if above is not None or least is not None else []), *upper])
    allowed = {"more than 0": "more than zero", "at least 0": "zero or more"}.get(allowed, allowed)
    raise DrakeError(f"{where} is {value}; it must be {allowed}.")


def positive(where: str, value: float, *, zero: bool = False) -> None:
    """DrakeError unless value > 0 (or >= 0 with `zero`)."""
    check_range(where, value, Setting("", least=0) if zero else Setting("", above=0))
