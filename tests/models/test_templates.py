"""Chat templates: rendered as transformers renders them, in bounded time, with the text itself in the prompt."""

import time
from types import SimpleNamespace

import pytest
from jinja2 import TemplateError

from drake import catalog
from drake.errors import DrakeError
from drake.models.checkpoints import embedded
from drake.models.prompts import Chat
from drake.models.templates import DATE, MOST_STEPS, ChatTemplate
from drake.models.tiny import new_processor, new_tokenizer
from drake.models.tiny.shapes import CHAT_TEMPLATES

STORED_LLAMA = """\
{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""
"""Written the way of the stored template of Llama 3.2: a system block with a date, and contents that are trimmed."""

GENERATION = """\
{%- set space = namespace(turns=0) %}
{%- for message in messages %}
    {%- set space.turns = space.turns + 1 %}
    {%- if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}
    {%- else %}{{ space.turns }} of {{ loop.length }}: {{ message.content ~ eos_token }}{% endif %}
    {%- if loop.last %}{% break %}{% endif %}
{%- endfor %}
{{ {'a': "<b>'"} | tojson }}{{ '-' * 3 }}{{ tools is none }}
"""
"""Tags, filters and names that transformers adds to Jinja."""

TEXTS = ["What is it?", "a red hat"]
RECORD = {"id": "r/0", "images": [b"a"], "prompt": "<image>\nWhat is it?", "choices": [], "answer": "a red hat"}


@pytest.fixture(scope="module")
def llama():
    return new_processor("llama", new_tokenizer("llama", TEXTS))


@pytest.fixture(scope="module")
def qwen():
    return new_processor("qwen", new_tokenizer("qwen", TEXTS))


def with_template(processor, template):
    return SimpleNamespace(tokenizer=processor.tokenizer, image_token=processor.image_token, chat_template=template)


def prompt(processor, template, record=RECORD) -> str:
    chat = Chat(with_template(processor, template))
    return chat._render(chat.messages(record), add_generation_prompt=True)


@pytest.mark.parametrize("prompting", [True, False])
@pytest.mark.parametrize("template", [*CHAT_TEMPLATES.values(), STORED_LLAMA, GENERATION])
def test_a_template_is_rendered_as_transformers_renders_it(llama, template, prompting):
    messages = [
        {"role": "user", "content": 'What <is> it?\n"What\'s that?"'},
        {"role": "assistant", "content": "a & b "},
    ]
    for chat in (messages[:1], messages):
        stock = llama.tokenizer.apply_chat_template(
            chat, chat_template=template, tokenize=False, add_generation_prompt=prompting, date_string=DATE
        )
        assert ChatTemplate(template).render(chat, llama.tokenizer.special_tokens_map, prompting) == stock


def test_a_template_that_trims_its_contents_gets_the_text_itself(llama):
    text = prompt(llama, STORED_LLAMA)
    assert text.endswith(
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat is it?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert f"Today Date: {DATE}" in text
    assert "type" not in text
    chat = Chat(with_template(llama, STORED_LLAMA))
    assert llama.tokenizer.decode(chat.answer_ids(RECORD)).replace(" ", "") == "aredhat<|eot_id|>"


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("message['content'] | string", "<image>\nWhat is it?"),
        ("message['content'] ~ ''", "<image>\nWhat is it?"),
        ("message['content'] | tojson", None),
        ("'%s' % [message.content]", None),
    ],
)
def test_the_python_or_json_form_of_a_text_is_not_taken_for_the_text(llama, content, written):
    template = CHAT_TEMPLATES["llama"].replace("message['content'] is string", "true")
    template = template.replace("{{- message['content'] }}", "{{- " + content + " }}")
    if written is None:  # no form of content gives the text itself
        with pytest.raises(DrakeError, match="does not keep a user's text and pictures in place"):
            prompt(llama, template)
    else:
        assert f"<|end_header_id|>\n\n{written}<|eot_id|>" in prompt(llama, template)


def test_a_template_that_escapes_a_text_is_refused(llama):
    template = "{% for m in messages %}{{ m['content'] | e }}{% endfor %}"
    with pytest.raises(DrakeError, match=r"does not keep a user's text and pictures in place; correct it\.$"):
        Chat(with_template(llama, template))


def test_contents_of_users_and_assistants_may_have_different_forms(llama):
    template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{% for p in m['content'] %}"
        "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}|"
        "{% else %}{{ m['content'] | trim }}<|eot_id|>{% endif %}{% endfor %}"
    )
    chat = Chat(with_template(llama, template))
    assert llama.tokenizer.decode(chat.prompt_ids(RECORD)).replace(" ", "") == "<image>\nWhatisit?|"
    assert llama.tokenizer.decode(chat.answer_ids(RECORD)).replace(" ", "") == "aredhat<|eot_id|>"


def test_of_several_templates_the_default_one_is_used(llama):
    named = {"tool_use": "nothing", "default": STORED_LLAMA}
    assert prompt(llama, named) == prompt(llama, STORED_LLAMA)
    with pytest.raises(DrakeError, match=r"has no chat template.*\.$"):
        Chat(with_template(llama, {"tool_use": STORED_LLAMA}))


def test_a_template_cannot_tell_the_day(llama):
    assert prompt(llama, "{{ strftime_now('%Y-%m-%d') }}" + STORED_LLAMA).startswith("2025-01-01")


GROWING = "{{% set s = namespace(t='a') %}}{{% for a in range(60) %}}{{% set s.t = {} %}}{{% endfor %}}"
ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "recursive loop": "{% for a in [[]] recursive %}{{ loop([[]]) }}{{ loop([[]]) }}{% endfor %}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "repeated text": "{{ 'a' * 10 ** 11 }}",
    "repeated list": "{% for a in [0] * 10 ** 11 %}{% endfor %}",
    "joined text": GROWING.format("s.t ~ s.t"),
    "added text": GROWING.format("s.t + s.t"),
    "replaced text": GROWING.format("s.t | replace('a', 'aa')"),
    "filler": "{{ lipsum(n=10**9) }}",
    "long template": "{# " + 200_000 * "a" + " #}",
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_template_is_refused_at_once(llama, template):
    began = time.monotonic()
    with pytest.raises(DrakeError, match=r"^the chat template of the checkpoint .*correct it\.$"):
        Chat(with_template(llama, template + CHAT_TEMPLATES["llama"]))
    assert time.monotonic() - began < 10


def test_a_template_that_only_some_texts_make_endless_names_itself(llama):
    trap = "{% if 'What' in messages[0].content[-1].text %}" + ENDLESS["nested loops"] + "{% endif %}"
    chat = Chat(with_template(llama, trap + CHAT_TEMPLATES["llama"]), "somebody/llava")
    with pytest.raises(DrakeError, match=rf"template of somebody/llava cannot be used: .* {MOST_STEPS} steps"):
        chat.prompt_ids(RECORD)


def test_every_rendering_has_its_own_limit():
    template = ChatTemplate(f"{{% for a in range({MOST_STEPS // 2}) %}}{{% endfor %}}x")
    assert [template.render([], {}, False) for _ in range(4)] == ["x"] * 4


def test_a_template_with_an_error_of_syntax_is_one_sentence(llama):
    with pytest.raises(DrakeError, match=r"^the chat template of the checkpoint is no valid template: .*correct it\.$"):
        Chat(with_template(llama, "{% for %}"))


def test_attributes_that_python_calls_cannot_be_set():
    with pytest.raises(TemplateError, match="sets the attribute __html__"):
        ChatTemplate("{% set n = namespace() %}{% set n.__html__ = cycler %}{{ n }}").render([], {}, False)
    with pytest.raises(TemplateError, match="sets the attribute _x"):
        ChatTemplate("{{ namespace(_x=1) }}").render([], {}, False)


def test_the_official_prompt_of_llama_has_neither_system_nor_date(llama):
    text = prompt(llama, catalog.official_prompts()["llama3"], RECORD | {"prompt": "<image>\nWhat is it? "})
    assert text == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<image>\nWhat is it?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_the_official_prompt_of_qwen_has_its_default_system_message(qwen):
    text = prompt(qwen, catalog.official_prompts()["qwen2.5"])
    assert text == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    )
    chat = Chat(with_template(qwen, catalog.official_prompts()["qwen2.5"]))
    assert qwen.tokenizer.convert_ids_to_tokens(chat.end_of_turn) == "<|im_end|>"


def test_the_six_models_of_the_paper_have_official_prompts_and_the_embedded_ones_none():
    models = catalog.models().values()
    expected = {"llama": "llama3", "qwen": "qwen2.5"}
    assert {m.name: (m.prompt, m.pad_pictures) for m in models if m.hub_id} == {
        m.name: (expected[m.family], True) for m in models if not m.embedded
    }
    assert len([m for m in models if m.hub_id]) == 6
    assert {(m.prompt, m.pad_pictures) for m in models if m.embedded} == {(None, False)}
    assert {m.name for m in models if m.embedded} == set(embedded())
