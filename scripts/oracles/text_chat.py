#!/usr/bin/env python3
"""Writes tests/data/text/chat.json: what Jinja makes of chat templates, for the test of src/text/chat_template.

The templates are those of the model files that are named as NAME=GGUF (the test takes them from the same files), and
small ones written here that do what the families' templates do. Each is rendered by Python's jinja2, set up as
`transformers` does it, on each conversation, with and without a prompt for the answer; null = the template refused.
A BOS token at the beginning is taken off. Usage: text_chat.py NAME=GGUF…
"""
import json
import pathlib
import sys

import gguf
import jinja2
import jinja2.sandbox

OUT = pathlib.Path(__file__).parents[2] / "tests" / "data" / "text" / "chat.json"
BOS, EOS = "<s>", "</s>"

ALTERNATE = """{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"""

TEMPLATES = {
    "chatml": """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}{{ "<|im_start|>assistant\\n" }}{% endif %}""",
    "chatml_default": """{% set system_message = "Be brief, and don't guess." %}{% if messages[0].role != 'system' %}\
{{ '<|im_start|>system\\n' + system_message + '<|im_end|>\\n' }}{% endif %}{% for m in messages %}\
{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "chatml_quotes": """{% if messages[0].role != "system" %}{{ "<|im_start|>system\\nIt's \\"fine\\".<|im_end|>\\n" }}\
{% endif %}{# <|im_start|>system\nno<|im_end|> #}{% for m in messages %}\
{{ "<|im_start|>" + m.role + "\\n" + m.content + "<|im_end|>\\n" }}{% endfor %}\
{% if add_generation_prompt %}{{ "<|im_start|>assistant\\n" }}{% endif %}""",
    "llama2": """{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}\
{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% else %}{% set turns = messages %}\
{% set system = '' %}{% endif %}{% for m in turns %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('roles must alternate') }}{% endif %}{% if m['role'] == 'user' %}\
{{ bos_token + '[INST] ' + ((system if loop.first else '') + m['content']).strip() + ' [/INST]' }}{% else %}\
{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "llama3": """{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}\
{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
    "llama31": """{{ bos_token }}{% if not date_string is defined %}{% set date_string = "26 Jul 2024" %}{% endif %}\
{% if messages[0].role == 'system' %}{% set system_message = messages[0].content | trim %}\
{% set messages = messages[1:] %}{% else %}{% set system_message = "" %}{% endif %}\
{{ "<|start_header_id|>system<|end_header_id|>\\n\\n" }}{{ "Cutting Knowledge Date: December 2023\\n" }}\
{{ "Today Date: " + date_string + "\\n\\n" }}{{ system_message }}{{ "<|eot_id|>" }}{% for m in messages %}\
{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
    "phi3": """{% for m in messages %}{% if m['role'] == 'system' %}{{ '<|system|>\\n' + m['content'] + '<|end|>\\n' }}\
{% elif m['role'] == 'user' %}{{ '<|user|>\\n' + m['content'] + '<|end|>\\n' }}{% else %}\
{{ '<|assistant|>\\n' + m['content'] + '<|end|>\\n' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}""",
    "gemma": """{{ bos_token }}{% if messages[0].role == 'system' %}{% set prefix = messages[0].content + '\\n\\n' %}\
{% set turns = messages[1:] %}{% else %}{% set prefix = '' %}{% set turns = messages %}{% endif %}\
{% for m in turns %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}\
{% endif %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + \
(prefix if loop.first else '') }}{{ m.content | trim }}{{ '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}""",
    "gemma_no_system": """{{ bos_token }}{% if messages[0].role == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}""" + ALTERNATE + """{% for m in messages %}\
{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}""",
    "mistral": "{{ bos_token }}" + ALTERNATE + """{% for message in messages %}{% if message['role'] == 'user' %}\
{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token + ' ' }}{% endif %}\
{% endfor %}""",
    "mistral_first": """{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}\
{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}{{ bos_token }}{% for message in turns %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}\
{% if message['role'] == 'user' %}{% if loop.first and system is defined %}\
{{ '[INST] ' + system + '\\n\\n' + message['content'] + ' [/INST]' }}{% else %}\
{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endif %}{% else %}{{ ' ' + message['content'] + eos_token }}\
{% endif %}{% endfor %}""",
    "mistral_last": """{% if messages[0]["role"] == "system" %}{% set system = messages[0]["content"] %}\
{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}{{ bos_token }}{% for message in turns %}\
{% if (message["role"] == "user") != (loop.index0 % 2 == 0) %}{{ raise_exception("roles must alternate") }}{% endif %}\
{% if message["role"] == "user" %}{% if loop.last and system is defined %}\
{{ "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}{% else %}\
{{ "[INST] " + message["content"] + "[/INST]" }}{% endif %}{% else %}\
{{ " " + message["content"] | trim + eos_token }}{% endif %}{% endfor %}""",
}


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [turn("user", "Hello")],
    [turn("system", "You are a pirate."), turn("user", "Hello\nthere")],
    [turn("user", "  spaces \n"), turn("assistant", " Hi! \n"), turn("user", "Bye {{ x }} 'y' \"z\"")],
    [turn("system", " Be kind.\n"), turn("user", " One "), turn("assistant", "Two"), turn("user", "Three")],
    [turn("user", "One"), turn("assistant", "Two")],
    [turn("user", "One"), turn("user", "Two")],
]


def refuse(message):
    raise jinja2.TemplateError(message)


def render(template, messages, add_generation_prompt):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    try:
        text = environment.from_string(template).render(
            messages=messages, add_generation_prompt=add_generation_prompt, bos_token=BOS, eos_token=EOS)
    except jinja2.TemplateError:
        return None
    return text.removeprefix(BOS)


def main():
    result = {"conversations": CONVERSATIONS, "templates": {}}
    templates = dict(TEMPLATES)
    own = []
    for argument in sys.argv[1:]:
        name, _, path = argument.partition("=")
        templates[name] = gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents()
        own.append(name)
    for name, template in templates.items():
        outputs = [[render(template, c, prompt) for prompt in (False, True)] for c in CONVERSATIONS]
        entry = {"model_file": True} if name in own else {"jinja": template}
        result["templates"][name] = {**entry, "outputs": outputs}
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
