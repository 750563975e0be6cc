"""A record -> a chat -> token ids: the only room that knows chat templates. Only `backbones` calls it.

Nothing here knows a model by name. How a template writes a user's text, what stands between the end of a
prompt and the answer, and which token ends a turn are found out by rendering a probe once per processor
(`Chat`), so that a checkpoint from the hub and an embedded tiny one go through the same lines.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from jinja2 import TemplateError

from drake.errors import DrakeError

PLACEHOLDER = "<image>"
"""Stands in a record's prompt once per picture, at the place where the model shall see it."""

DATE = "01 Jan 2025"
"""What templates that write today's date (Llama 3) are told, so that a prompt is the same tomorrow."""

Message = dict[str, Any]
Record = Mapping[str, Any]
"""A sample as the dataset holds it: `id`, `images`, `prompt`, `choices`, `answer` and what else there is."""


def _in_parts(text: str, image_token: str) -> Any:
    """Content as typed parts, pictures being parts of their own: what vision-language models document."""
    first, *rest = text.split(PLACEHOLDER)
    parts: list[Message] = [{"type": "text", "text": first}] if first else []
    for piece in rest:
        parts.append({"type": "image"})
        if piece:
            parts.append({"type": "text", "text": piece})
    return parts


def _in_one_part(text: str, image_token: str) -> Any:
    """One text part holding the image token itself, for templates that would put all pictures first."""
    return [{"type": "text", "text": text.replace(PLACEHOLDER, image_token)}]


def _as_string(text: str, image_token: str) -> Any:
    """A bare string, for templates of text-only models."""
    return text.replace(PLACEHOLDER, image_token)


def gold_ids(tokenizer: Any, answer: str) -> list[int]:
    """Token ids of a gold answer as a model writes it, at the start of a line; what the official F1 compares with the
    generated ids. A tokenizer may give a word other ids elsewhere."""
    line = tokenizer("\n", add_special_tokens=False)["input_ids"]
    ids = tokenizer("\n" + answer, add_special_tokens=False)["input_ids"]
    if ids[: len(line)] == line:
        return ids[len(line) :]
    return tokenizer(answer, add_special_tokens=False)["input_ids"]


def common_groups(first: Sequence[int | None], second: Sequence[int | None]) -> list[tuple[list[int], list[int]]]:
    """Which tokens of two tokenizations of one record belong together: the smallest groups, in order, that end at the
    same character in both. The arguments are `Chat.characters_read` of the two; the groups hold places in them.

    >>> common_groups([None, 3, 7], [2, 3, 5, 7, None])
    [([1], [0, 1]), ([2], [2, 3])]
    """
    ends = sorted({end for end in first if end is not None} & {end for end in second if end is not None})
    found: list[tuple[list[int], list[int]]] = [([], []) for _ in ends]
    for side, tokens in enumerate((first, second)):
        for place, end in enumerate(tokens):
            if end is not None and ends and end <= ends[-1]:
                found[bisect_left(ends, end)][side].append(place)
    return found


class Chat:
    """How one processor's chat template writes turns.

    Attributes:
        tokenizer: the processor's tokenizer.
        image_token_id: the id that stands for one picture in `prompt_ids`.
        end_of_turn: the id that a template writes after an answer; the tokenizer's EOS where it writes none.

    Raises DrakeError if there is no chat template, or none of the known ways to hand it a text keeps the
    pictures in their places.
    """

    def __init__(self, processor: Any, name: str = "the checkpoint"):
        self.tokenizer = processor.tokenizer
        self.image_token: str = processor.image_token
        self.image_token_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        self._name = name
        self._template = processor.chat_template or self.tokenizer.chat_template
        if self._template is None:
            raise DrakeError(f"{name} has no chat template; add a chat_template.jinja to its folder.")
        self._content = self._way_that_keeps_places(name)
        self._user_start = self._render(self._turns("alpha")).find("alpha")
        self._glue, self.end_of_turn = self._answer_frame(name)

    def messages(self, record: Record) -> list[Message]:
        """The record as a conversation of one user turn, pictures where the prompt has them.

        Raises DrakeError if the prompt holds another number of placeholders than the record has pictures.
        """
        placeholders, pictures = record["prompt"].count(PLACEHOLDER), len(record["images"])
        if placeholders != pictures:
            raise DrakeError(
                f"record {record.get('id', '?')!r}: the prompt holds {placeholders} {PLACEHOLDER} "
                f"but the record has {pictures} pictures; they must be as many."
            )
        return self._turns(record["prompt"])

    def prompt_ids(self, record: Record) -> list[int]:
        """Token ids up to where the answer begins: at most one BOS, one image token per picture."""
        return self._encode(self._render(self.messages(record), add_generation_prompt=True))

    def answer_ids(self, record: Record, before: list[int] | None = None) -> list[int]:
        """Token ids of the answer as they follow `prompt_ids`, with the end-of-turn token. before: `prompt_ids`, where
        the caller has them."""
        prompt = self._render(self.messages(record), add_generation_prompt=True)
        whole = self._encode(prompt + self._glue + record["answer"])
        before = self._encode(prompt) if before is None else before
        if whole[: len(before)] == before:
            ids = whole[len(before) :]
        else:  # the tokenizer merges across the border; generation starts from `before`, so must training
            ids = self.tokenizer(self._glue + record["answer"], add_special_tokens=False)["input_ids"]
        return [*ids, self.end_of_turn]

    def characters_read(self, record: Record) -> list[int | None]:
        """For every token of `prompt_ids` and then `answer_ids`: how many visible characters of the record's prompt and
        answer have been read where it ends; None for a token that holds none of them.

        The count does not depend on the tokenizer or the template, so it tells which tokens of two models belong
        together (`common_groups`). Raises DrakeError for a template that changes a user's text.
        """
        prompt = self._render(self.messages(record), add_generation_prompt=True)
        whole = prompt + self._glue + record["answer"]
        visible = [False] * len(whole)
        cursor = self._user_start
        for piece in map(str.strip, record["prompt"].split(PLACEHOLDER)):
            start = prompt.find(piece, cursor)
            if start < 0:
                raise DrakeError(
                    f"the chat template of {self._name} changes a user's text: {piece[:40]!r} is not in it."
                )
            cursor = start + len(piece)
            visible[start:cursor] = [not character.isspace() for character in piece]
        start = len(whole) - len(record["answer"])
        visible[start:] = [not character.isspace() for character in record["answer"]]
        read = list(accumulate(visible))

        before, ids = self._spans(prompt), self._spans(whole)
        if [token for token, *_ in ids[: len(before)]] != [token for token, *_ in before]:  # as in `answer_ids`
            after = self.tokenizer(whole[len(prompt) :], add_special_tokens=False, return_offsets_mapping=True)
            ids = before + [(0, len(prompt) + a, len(prompt) + b) for a, b in after["offset_mapping"]]
        return [read[end - 1] if any(visible[start:end]) else None for _, start, end in ids] + [None]

    def _spans(self, text: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of every token of a rendered text; start and end count characters."""
        bos = self.tokenizer.bos_token
        written = bos is not None and text.startswith(bos)
        found = self.tokenizer(text, add_special_tokens=not written, return_offsets_mapping=True)
        return [(token, *span) for token, span in zip(found["input_ids"], found["offset_mapping"], strict=True)]

    def _turns(self, user: str, assistant: str | None = None) -> list[Message]:
        turns = [("user", user)] + ([("assistant", assistant)] if assistant is not None else [])
        return [{"role": role, "content": self._content(text, self.image_token)} for role, text in turns]

    def _render(self, messages: list[Message], **options: Any) -> str:
        return self.tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, date_string=DATE, **options
        )

    def _encode(self, text: str) -> list[int]:
        """Ids of a rendered text. Some templates write BOS, some tokenizers add it, some pairs do both."""
        bos = self.tokenizer.bos_token
        written = bos is not None and text.startswith(bos)
        return self.tokenizer(text, add_special_tokens=not written)["input_ids"]

    def _way_that_keeps_places(self, name: str) -> Callable[[str, str], Any]:
        for way in (_in_parts, _in_one_part, _as_string):
            self._content = way
            try:
                rendered = self._render(self._turns(f"alpha{PLACEHOLDER}omega"), add_generation_prompt=True)
            except (TemplateError, TypeError, KeyError):  # the template expects content of another kind
                continue
            if f"alpha{self.image_token}omega" in rendered and rendered.count(self.image_token) == 1:
                return way
        raise DrakeError(f"the chat template of {name} does not keep a user's text and pictures in place; correct it.")

    def _answer_frame(self, name: str) -> tuple[str, int]:
        """What stands between a prompt and its answer, and the token after the answer."""
        prompt = self._render(self._turns("alpha"), add_generation_prompt=True)
        whole = self._render(self._turns("alpha", "omega"))
        head, found, tail = whole.partition("omega")
        if not found:
            raise DrakeError(f"the chat template of {name} does not write the assistant's answer; correct it.")
        glue = head[len(prompt) :] if head.startswith(prompt) else ""
        special = set(self.tokenizer.all_special_ids)
        ids = self.tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
        end = next((id_ for id_ in ids if id_ in special), self.tokenizer.eos_token_id)
        if end is None:
            raise DrakeError(f"{name} has no token that ends an answer; set eos_token in its tokenizer.")
        return glue, end
