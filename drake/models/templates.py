"""A chat template of a checkpoint, rendered as transformers does, in bounded time. `drake.models.prompts` calls it.

Templates come with checkpoints, so they are untrusted programs in Jinja. They run in Jinja's sandbox, with the
functions, filters and tags that transformers gives them (its documentation, "Chat templates"), and with limits: nested
loops, macros that call each other, powers and repeated texts end in a `TemplateError` instead of running for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import jinja2
import jinja2.ext
from jinja2 import TemplateError, nodes, pass_context
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

TODAY = datetime(2025, 1, 1)
"""The day that templates are told it is, so that a prompt does not change from day to day."""

DATE = TODAY.strftime("%d %b %Y")
"""The same in the form of Llama 3's `date_string`."""

MOST_STEPS = 100_000
"""Upper limit of loop rounds and calls in one rendering; published templates take a few hundred."""
MOST_CHARACTERS = 1_000_000
"""Upper limit for the length of a rendered text, and of any text or list on the way to it."""
LONGEST_TEMPLATE = 200_000
"""Upper limit for the characters of a template; long ones of published models have about 20,000."""


class _Generation(jinja2.ext.Extension):
    """The tag {% generation %}, which marks an assistant's words for transformers and changes nothing in the text."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """`namespace` without attributes that Python itself would call, such as `__html__`."""

    def __init__(*args: Any, **attributes: Any) -> None:
        self, *mappings = args
        Namespace.__init__(self)
        for name, value in dict(*mappings, **attributes).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise TemplateError(f"it sets the attribute {name}")
        super().__setitem__(name, value)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with the additions of transformers, counting what a template does."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        # Not optimized: constant expressions would be computed, without limits, while the template is compiled.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[_Generation, "jinja2.ext.loopcontrols"]
        )
        self.steps = 0
        self.globals.pop("lipsum", None)  # writes as much as it is asked for
        self.globals |= {
            "raise_exception": _raise,
            "strftime_now": TODAY.strftime,
            "namespace": _Namespace,
            "dict": _new_dict,
        }
        self.filters |= {"tojson": _to_json, "_counted": self._counted, "_sized": _sized}

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        self.count(1)
        return _sized(None, super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) < MOST_STEPS and abs(right) < 16):
            raise TemplateError("it computes a large power")
        if (
            operator == "*"
            and len(_text_or_list(left) or _text_or_list(right)) * _number(left, right) > MOST_CHARACTERS
        ):
            raise TemplateError(f"it makes a text of more than {MOST_CHARACTERS} characters")
        return _sized(None, super().call_binop(context, operator, left, right))

    def count(self, steps: int) -> None:
        """Add to the steps of this rendering; TemplateError above `MOST_STEPS`."""
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise TemplateError(f"it takes more than {MOST_STEPS} steps")

    @pass_context
    def _counted(self, context: Any, items: Any) -> list[Any]:
        found: list[Any] = []
        for item in items:
            self.count(1)
            found.append(item)
        return found


class _Limits(NodeTransformer):
    """Puts the filters `_counted` around what every loop goes through and `_sized` around every joined or filtered
    text."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """A loop."""
        self.generic_visit(node)
        node.iter = _filtered(cast(nodes.Expr, node.iter), "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """a ~ b"""
        self.generic_visit(node)
        return _filtered(node, "_sized")

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        """a | filter; a filter block has no node of its own to filter."""
        self.generic_visit(node)
        return node if node.node is None else _filtered(node, "_sized")


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@pass_context
def _sized(context: Any, value: Any) -> Any:
    """The value, unless it is a text, list or mapping above `MOST_CHARACTERS`."""
    if isinstance(value, str | Sequence | Mapping) and len(value) > MOST_CHARACTERS and not isinstance(value, range):
        raise TemplateError(f"it makes a text of more than {MOST_CHARACTERS} characters")
    return value


def _text_or_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, str | bytes | list | tuple) else ()


def _number(left: Any, right: Any) -> int:
    return next((value for value in (left, right) if isinstance(value, int)), 0)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _new_dict(*args: Any, **values: Any) -> dict[Any, Any]:
    """`dict` without the attributes of the type."""
    return dict(*args, **values)


def _to_json(value: Any, **options: Any) -> str:
    """As transformers defines it: Jinja's own escapes for HTML."""
    options.setdefault("ensure_ascii", False)
    return json.dumps(value, **options)


class ChatTemplate:
    """A compiled template. Not for two threads at once.

    Raises TemplateError (or another exception: templates can do much that is wrong) for one that cannot be compiled.
    """

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_TEMPLATE:
            raise TemplateError(f"it has more than {LONGEST_TEMPLATE} characters")
        self._sandbox = _Sandbox()
        tree = _Limits().visit(self._sandbox.parse(source))
        self._compiled = self._sandbox.from_string(tree)

    def render(
        self, messages: Sequence[Mapping[str, Any]], special_tokens: Mapping[str, str], add_generation_prompt: bool
    ) -> str:
        """The text of a conversation; messages as `tokenizer.apply_chat_template` takes them.

        Raises TemplateError for a template that goes beyond the limits or refuses the messages, and whatever else goes
        wrong in it.
        """
        self._sandbox.steps = 0
        variables: dict[str, Any] = {**special_tokens, "date_string": DATE, "tools": None, "documents": None}
        parts: list[str] = []
        length = 0
        for part in self._compiled.generate(
            messages=messages, add_generation_prompt=add_generation_prompt, **variables
        ):
            length += len(part)
            if length > MOST_CHARACTERS:
                raise TemplateError(f"it writes more than {MOST_CHARACTERS} characters")
            parts.append(part)
        return "".join(parts)
