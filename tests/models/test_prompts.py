"""Chats: pictures stay in place, one BOS, answers end their turn; whatever way a template wants its content."""

from types import SimpleNamespace

import pytest

from drake.errors import DrakeError
from drake.models.prompts import Chat, common_groups, gold_ids
from drake.models.tiny import new_processor, new_tokenizer
from drake.models.tiny.shapes import CHAT_TEMPLATES

TEXTS = ["What colour is the shirt? Choice list:[red, light blue]. Your answer is:", "red", "light blue"]
RECORD = {
    "id": "r/0",
    "images": [b"a", b"b"],
    "prompt": "Left: <image> right: <image>\nWhat colour is the shirt?",
    "choices": ["red", "light blue"],
    "answer": "light blue",
}


@pytest.fixture(scope="module", params=["llama", "qwen"])
def processor(request):
    return new_processor(request.param, new_tokenizer(request.param, TEXTS))


def with_template(processor, template):
    return SimpleNamespace(tokenizer=processor.tokenizer, image_token=processor.image_token, chat_template=template)


def test_pictures_stand_where_the_prompt_has_them(processor):
    chat = Chat(processor)
    text = processor.tokenizer.decode(chat.prompt_ids(RECORD))
    # The tokenizers write a space before every word, so compare without spaces.
    assert "Left:<image>right:<image>\nWhatcolouristheshirt?" in text.replace(" ", "")
    assert chat.prompt_ids(RECORD).count(chat.image_token_id) == 2


def test_llama_prompts_have_exactly_one_bos():
    processor = new_processor("llama", new_tokenizer("llama", TEXTS))
    ids = Chat(processor).prompt_ids(RECORD)
    bos = processor.tokenizer.bos_token_id
    assert ids[0] == bos
    assert ids.count(bos) == 1


def test_a_tokenizer_that_adds_bos_itself_does_not_add_a_second_one():
    from tokenizers.processors import TemplateProcessing

    tokenizer = new_tokenizer("llama", TEXTS)
    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    assert tokenizer("red")["input_ids"][0] == tokenizer.bos_token_id  # this tokenizer adds it
    processor = new_processor("llama", tokenizer)
    written = Chat(processor)
    silent = Chat(with_template(processor, CHAT_TEMPLATES["llama"].replace("{{- bos_token }}", "")))
    for chat in (written, silent):
        assert chat.prompt_ids(RECORD).count(tokenizer.bos_token_id) == 1
        assert tokenizer.bos_token_id not in chat.answer_ids(RECORD)


def test_an_answer_is_its_tokens_and_the_end_of_turn(processor):
    chat = Chat(processor)
    tokenizer = processor.tokenizer
    ids = chat.answer_ids(RECORD)
    assert tokenizer.decode(ids[:-1]).strip() == "light blue"
    assert tokenizer.convert_ids_to_tokens(ids[-1]) in ("<|eot_id|>", "<|im_end|>")


def test_prompt_and_answer_are_the_tokens_of_the_whole_conversation(processor):
    chat = Chat(processor)
    turns = [*chat.messages(RECORD), {"role": "assistant", "content": [{"type": "text", "text": "light blue"}]}]
    whole = processor.tokenizer.apply_chat_template(turns, chat_template=processor.chat_template, tokenize=False)
    ids = chat.prompt_ids(RECORD) + chat.answer_ids(RECORD)
    assert processor.tokenizer(whole, add_special_tokens=False)["input_ids"][: len(ids)] == ids


def test_a_word_is_the_same_token_in_a_list_and_as_an_answer(processor):
    ids = processor.tokenizer("\nChoice list:[red, light blue]", add_special_tokens=False)["input_ids"]
    red = Chat(processor).answer_ids(RECORD | {"answer": "red"})[0]
    assert red in ids


@pytest.mark.parametrize(
    "template",
    [
        # All pictures first, as the templates of the LLaVA 1.5 checkpoints do.
        "USER: {% for m in messages[0]['content'] %}{% if m['type'] == 'image' %}<image>\n{% endif %}{% endfor %}"
        "{% for m in messages[0]['content'] %}{% if m['type'] == 'text' %}{{ m['text'] }}{% endif %}{% endfor %}"
        "{% if messages|length > 1 %} ASSISTANT: {{ messages[1]['content'][0]['text'] }} {% endif %}"
        "{% if add_generation_prompt %} ASSISTANT:{% endif %}",
        # Bare strings, as the templates of text-only models do.
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    ],
    ids=["pictures first", "bare strings"],
)
def test_templates_of_other_kinds_keep_pictures_in_place(processor, template):
    chat = Chat(with_template(processor, template))
    text = processor.tokenizer.decode(chat.prompt_ids(RECORD)).replace(" ", "")
    assert "Left:<image>right:<image>\nWhatcolouristheshirt?" in text
    answer = chat.answer_ids(RECORD)
    assert processor.tokenizer.decode(answer[:-1]).strip() == "light blue"
    assert answer[-1] == processor.tokenizer.eos_token_id


def test_a_prompt_is_the_same_on_another_day(processor):
    template = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}" + processor.chat_template
    assert "2025" in processor.tokenizer.decode(Chat(with_template(processor, template)).prompt_ids(RECORD))


def test_another_number_of_pictures_than_placeholders_names_the_record(processor):
    with pytest.raises(DrakeError, match=r"'r/0'.* 2 <image> .* 1 pictures.*\.$"):
        Chat(processor).prompt_ids(RECORD | {"images": [b"a"]})


def test_a_checkpoint_without_chat_template_says_what_to_add(processor):
    with pytest.raises(DrakeError, match=r"chat_template\.jinja.*\.$"):
        Chat(with_template(processor, None))


def test_a_template_that_drops_pictures_is_refused(processor):
    with pytest.raises(DrakeError, match=r"in place.*\.$"):
        Chat(with_template(processor, "{% for m in messages %}text{% endfor %}"))


@pytest.mark.parametrize(
    "expression",
    [
        "cycler.__init__.__globals__.os.system('touch {}')",
        "self.__init__.__globals__.__builtins__.open('{}', 'w')",
        "messages.__class__.__base__.__subclasses__()[0]('{}')",
        "namespace.__init__.__globals__['__builtins__']['open']('{}', 'w')",
    ],
)
def test_a_template_runs_no_code(processor, tmp_path, expression):
    template = "{{ " + expression.format(tmp_path / "trace") + " }}" + processor.chat_template
    with pytest.raises(DrakeError, match=r"in place.*\.$"):
        Chat(with_template(processor, template))
    assert list(tmp_path.iterdir()) == []


def test_gold_ids_are_the_ids_a_model_is_taught_to_write():
    tokenizer = new_tokenizer("llama", ["What is it?\nChoice list:[Ann, Leo]. Your answer is:", "Ann", "Leo"])
    chat = Chat(new_processor("llama", tokenizer))
    record = {"id": "x", "prompt": "Who?", "images": [], "answer": "Leo"}
    assert gold_ids(tokenizer, "Leo") == chat.answer_ids(record)[:-1]
    assert tokenizer.decode(gold_ids(tokenizer, "Leo")).strip() == "Leo"


def test_every_token_knows_how_many_visible_characters_have_been_read(processor):
    chat = Chat(processor)
    read = chat.characters_read(RECORD)
    ids = chat.prompt_ids(RECORD) + chat.answer_ids(RECORD)
    assert len(read) == len(ids)
    visible = "".join(RECORD["prompt"].replace("<image>", " ").split()) + "lightblue"
    counts = [count for count in read if count is not None]
    assert counts == sorted(counts)
    assert counts[-1] == len(visible)
    position = 0
    for token, count in zip(ids, read, strict=True):
        if count is not None:
            assert processor.tokenizer.decode([token]).strip() == visible[position:count]
            position = count
    assert read[-1] is None  # the end of the turn


def test_two_tokenizers_agree_on_the_same_spans():
    sides = [Chat(new_processor(family, new_tokenizer(family, TEXTS))) for family in ("llama", "qwen")]
    groups = common_groups(*(chat.characters_read(RECORD) for chat in sides))
    texts = []
    for chat, side in zip(sides, (0, 1), strict=True):
        ids = chat.prompt_ids(RECORD) + chat.answer_ids(RECORD)
        texts.append(["".join(chat.tokenizer.decode([ids[k] for k in group[side]]).split()) for group in groups])
    assert texts[0] == texts[1]
    assert "".join(texts[0]).endswith("lightblue")


def test_groups_end_where_both_tokenizations_end():
    assert common_groups([None, 3, 7], [2, 3, 5, 7, None]) == [([1], [0, 1]), ([2], [2, 3])]
    assert common_groups([2, 4], [3]) == []
    assert common_groups([2, 4], [2, 5]) == [([0], [0])]


def test_a_template_that_changes_the_text_cannot_be_matched():
    processor = new_processor("llama", new_tokenizer("llama", TEXTS))
    loud = CHAT_TEMPLATES["llama"].replace("part['text']", "part['text'] | replace('shirt', 'SHIRT')")
    chat = Chat(with_template(processor, loud))
    with pytest.raises(DrakeError, match="changes a user's text"):
        chat.characters_read(RECORD)
