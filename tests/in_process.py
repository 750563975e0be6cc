"""A command of `drake` in the process of the tests, for those that look at its error alone."""

from click.testing import CliRunner

from drake import cli
from drake.errors import DrakeError


def drake(*arguments: object) -> str:
    """The error of a command that fails, which is one line; "" of one that succeeds."""
    found = CliRunner().invoke(cli.drake, [str(argument) for argument in arguments])
    if found.exception is None:
        return ""
    assert isinstance(found.exception, DrakeError), found.exc_info
    assert "\n" not in str(found.exception)
    return str(found.exception)
