"""A record -> a chat -> token ids: the only module that knows chat templates. `drake.models.backbone` calls it.

No model is known by name. How a template writes a user's text, what it puts between the prompt and the answer, and
which token ends a turn are found by rendering a probe once per processor (`Chat`), so that a checkpoint from the hub
and an embedded tiny one go through the same lines.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from drake.data.record import DatasetRow
from drake.errors import DrakeError
from drake.models.templates import ChatTemplate

PLACEHOLDER = "<image>"
"""The mark in a record's prompt, one per picture, at the place where the model reads that picture."""

PROBE = 'The "first" line isn\'t\nlong & '
"""Marks a text that is rendered to learn how a template writes a text. Line break and quotes tell the text itself from
a Python list or JSON with the text in it."""

ANSWER = 'It\'s "omega",\n<so> they say'
"""The same for an answer."""

Message = dict[str, Any]
Content = Callable[[str, str], Any]
"""(text, what stands for a picture) -> the content of a message."""


def _in_parts(text: str, picture: str) -> Any:
    """Content as typed parts, each picture a part of its own, as vision-language models document."""
    first, *rest = text.split(PLACEHOLDER)
    parts: list[Message] = [{"type": "text", "text": first}] if first else []
    for piece in rest:
        parts.append({"type": "image"})
        if piece:
            parts.append({"type": "text", "text": piece})
    return parts


def _in_one_part(text: str, picture: str) -> Any:
    """One text part that contains the image tokens, for templates that would put all pictures first."""
    return [{"type": "text", "text": text.replace(PLACEHOLDER, picture)}]


def _as_string(text: str, picture: str) -> Any:
    """A plain string, for templates of text-only models."""
    return text.replace(PLACEHOLDER, picture)


CONTENTS: tuple[Content, ...] = (_in_parts, _in_one_part, _as_string)
"""The forms in which a template may want its contents, the most expressive first."""


def gold_ids(tokenizer: Any, answer: str) -> list[int]:
    """Token ids of a gold answer at the start of a line, where a model writes it; the official F1 compares them with
    the generated ids. A tokenizer may give a word other ids in other places."""
    line = tokenizer("\n", add_special_tokens=False)["input_ids"]
    ids = tokenizer("\n" + answer, add_special_tokens=False)["input_ids"]
    if ids[: len(line)] == line:
        return ids[len(line) :]
    return tokenizer(answer, add_special_tokens=False)["input_ids"]


def common_groups(first: Sequence[int | None], second: Sequence[int | None]) -> list[tuple[list[int], list[int]]]:
    """Groups of tokens that two tokenizations of one record have in common: the smallest groups, in order, that end at
    the same character in both. The arguments are `Chat.characters_read` of the two; groups hold indices into them.

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

    picture: what the template writes for a picture; default: the processor's image token.

    Attributes:
        tokenizer: the processor's tokenizer.
        image_token_id: the id that stands for one picture in `prompt_ids`.
        end_of_turn: the id that a template writes after an answer; the tokenizer's EOS where it writes none.

    Raises DrakeError if there is no chat template, if it changes a text or moves its pictures however the text is
    passed, and if it takes endlessly long.
    """

    def __init__(self, processor: Any, name: str = "the checkpoint", picture: str | None = None):
        self.tokenizer = processor.tokenizer
        self.image_token: str = processor.image_token
        self._picture = picture or self.image_token
        self.image_token_id: int = self.tokenizer.convert_tokens_to_ids(self.image_token)
        self._name = name
        self._template = self._compiled(processor.chat_template or self.tokenizer.chat_template)
        self._content = self._user_form()
        self._answer_content = self._answer_form()
        marked = f"alpha{PROBE}omega"  # no space at its ends, which some templates trim
        self._user_start = self._render(self._turns(marked)).find(marked)
        self._glue, self.end_of_turn = self._answer_frame()

    def messages(self, record: DatasetRow) -> list[Message]:
        """The record as a conversation of one user turn, pictures where the prompt has them.

        Raises DrakeError if the numbers of placeholders in the prompt and of pictures in the record differ.
        """
        placeholders, pictures = record["prompt"].count(PLACEHOLDER), len(record["images"])
        if placeholders != pictures:
            raise DrakeError(
                f"record {record.get('id', '?')!r}: the prompt holds {placeholders} {PLACEHOLDER} "
                f"but the record has {pictures} pictures; the numbers must be equal."
            )
        return self._turns(record["prompt"])

    def prompt_ids(self, record: DatasetRow, pictures: Sequence[str] | None = None) -> list[int]:
        """Token ids up to the start of the answer: at most one BOS, one image token per picture.

        pictures: what is to stand there for each picture instead."""
        return self._encode(self._prompt(record, pictures))

    def answer_ids(self, record: DatasetRow) -> list[int]:
        """Token ids of the answer that follows `prompt_ids`, with the end-of-turn token."""
        prompt = self._prompt(record)
        whole = self._encode(prompt + self._glue + record["answer"])
        before = self._encode(prompt)
        if whole[: len(before)] == before:
            ids = whole[len(before) :]
        else:  # the tokenizer merges prompt and answer; generation starts from `before`, so training must too
            ids = self.tokenizer(self._glue + record["answer"], add_special_tokens=False)["input_ids"]
        return [*ids, self.end_of_turn]

    def characters_read(self, record: DatasetRow, pictures: Sequence[str] | None = None) -> list[int | None]:
        """For every token of `prompt_ids` and then `answer_ids`: the number of visible characters of the record's
        prompt and answer up to the end of this token; None for a token that contains none of them. pictures: as in
        `prompt_ids`.

        The count does not depend on the tokenizer or the template, so it tells which tokens of two models cover the
        same text (`common_groups`). Raises DrakeError for a template that changes a user's text.
        """
        prompt = self._prompt(record, pictures)
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
        read = list(accumulate(map(int, visible)))

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

    def _prompt(self, record: DatasetRow, pictures: Sequence[str] | None = None) -> str:
        """The rendered text up to the start of the answer. Raises DrakeError where the record's own text has the image
        token in it."""
        text = self._render(self.messages(record), add_generation_prompt=True)
        if pictures is None:
            return text
        first, *rest = text.split(self.image_token)
        if len(rest) != len(pictures):
            raise DrakeError(
                f"record {record['id']!r} has {len(pictures)} pictures but its prompt {len(rest)} image tokens; the "
                "numbers must be equal."
            )
        return first + "".join(piece for pair in zip(pictures, rest, strict=True) for piece in pair)

    def _turns(self, user: str, assistant: str | None = None) -> list[Message]:
        turns = [{"role": "user", "content": self._content(user, self._picture)}]
        if assistant is not None:
            turns.append({"role": "assistant", "content": self._answer_content(assistant, self._picture)})
        return turns

    def _render(self, messages: list[Message], add_generation_prompt: bool = False) -> str:
        try:
            return self._template.render(messages, self.tokenizer.special_tokens_map, add_generation_prompt)
        except Exception as error:  # a template is a program of others: everything can go wrong in it
            raise DrakeError(
                f"the chat template of {self._name} cannot be used: {_reason(error)}; correct it."
            ) from error

    def _encode(self, text: str) -> list[int]:
        """Ids of a rendered text with one BOS at most. Templates may write BOS, tokenizers may add it, or both may."""
        bos = self.tokenizer.bos_token
        written = bos is not None and text.startswith(bos)
        return self.tokenizer(text, add_special_tokens=not written)["input_ids"]

    def _compiled(self, template: Any) -> ChatTemplate:
        if isinstance(template, dict):  # several by name, such as "default" and "tool_use"
            template = template.get("default")
        if not template:
            raise DrakeError(f"{self._name} has no chat template; add a chat_template.jinja to its folder.")
        try:
            return ChatTemplate(template)
        except Exception as error:  # as in `_render`
            raise DrakeError(
                f"the chat template of {self._name} is no valid template: {_reason(error)}; correct it."
            ) from error

    def _user_form(self) -> Content:
        """The first of `CONTENTS` with which the template writes a user's text as it is, each picture in its place."""
        text = f"{PROBE}{PLACEHOLDER} and\n{PLACEHOLDER}\nalpha"
        return self._form(text, "user", "does not keep a user's text and pictures in place")

    def _answer_form(self) -> Content:
        """The same for an answer."""
        return self._form(ANSWER, "assistant", "does not write the assistant's answer")

    def _form(self, text: str, role: str, fault: str) -> Content:
        expected = text.replace(PLACEHOLDER, self._picture)
        failures: list[Exception] = []
        for form in CONTENTS:
            if role == "user":
                self._content = form
            else:
                self._answer_content = form
            turns = self._turns(text) if role == "user" else self._turns("alpha", text)
            try:
                rendered = self._template.render(turns, self.tokenizer.special_tokens_map, role == "user")
            except Exception as error:  # such as: the template expects content of another form
                failures.append(error)
                continue
            pictures = rendered.count(self.image_token) == text.count(PLACEHOLDER)
            if pictures and rendered.count(expected) == 1:
                return form
        why = f" ({_reason(failures[-1])})" if len(failures) == len(CONTENTS) else ""
        raise DrakeError(f"the chat template of {self._name} {fault}{why}; correct it.")

    def _answer_frame(self) -> tuple[str, int]:
        """The text between a prompt and its answer, and the id of the token after the answer."""
        prompt = self._render(self._turns("alpha"), add_generation_prompt=True)
        head, _, tail = self._render(self._turns("alpha", ANSWER)).partition(ANSWER)
        glue = head[len(prompt) :] if head.startswith(prompt) else ""
        added = self.tokenizer.added_tokens_decoder  # Gemma's end of a turn has no role, so it is not among the others
        special = {*self.tokenizer.all_special_ids, *(id_ for id_, token in added.items() if token.special)}
        ids = self.tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
        end = next((id_ for id_ in ids if id_ in special), self.tokenizer.eos_token_id)
        if end is None:
            raise DrakeError(f"{self._name} has no token that ends an answer; set eos_token in its tokenizer.")
        return glue, end


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:200].removesuffix(".") or type(error).__name__
