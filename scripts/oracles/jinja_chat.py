#!/usr/bin/env python3
"""Writes what Jinja2 makes of templates, for the tests of src/jinja.

Jinja2 3.1 runs in its sandbox, set up as transformers does it. Two files come out:

  jinja_chat.py cases            tests/data/text/jinja-cases.json: the small templates of jinja_cases.py, with their outputs.
  jinja_chat.py hashes FOLDER    tests/data/text/jinja-hashes.json: for each *.jinja in FOLDER and each conversation of
                                 jinja_conversations.py a hash of the output. The templates themselves are not kept: FOLDER is
                                 vendor/llama.cpp/models/templates of PyPI's sdist llama-cpp-python 0.3.36, and the test
                                 finds it through the environment variable S3D_TEMPLATES.
  jinja_chat.py texts FOLDER TO  the outputs themselves, one file each in TO, to look at when a hash differs.

Null stands for a template or a rendering that Jinja2 refuses. Needs jinja2 3.1.
"""
import datetime
import functools
import hashlib
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

from jinja_cases import CASES
from jinja_conversations import CONVERSATIONS

DATA = pathlib.Path(__file__).parents[2] / "tests" / "data" / "text"
NOW = datetime.datetime(2025, 3, 9, 14, 5, 6)  # the tests' clock says the same


class Generation(jinja2.ext.Extension):
    """{% generation %}, which transformers puts around what the assistant says: the body as it is, in a block of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def refuse(message):
    raise jinja2.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = NOW.strftime
    return made


@functools.cache
def compiled(source):
    return environment().from_string(source)


def render(source, context):
    """The output, or null. Jinja2 lets Python's own errors through, so all count as a refusal."""
    try:
        text = compiled(source).render(**context)
        text.encode()
        return text
    except Exception:
        return None


def short_hash(text):
    """FNV-1a of 64 bits: short to write in the test, and nobody has to be kept from forging it."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def templates(folder):
    return sorted(pathlib.Path(folder).glob("*.jinja"))


def write_cases():
    cases = [{"name": name, "template": template, "context": context, "output": render(template, context)}
             for name, template, context in CASES]
    (DATA / "jinja-cases.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")


def write_hashes(folder):
    result = {"conversations": CONVERSATIONS, "templates": {}}
    for path in templates(folder):
        source = path.read_bytes().decode()
        outputs = [render(source, context) for context in CONVERSATIONS.values()]
        result["templates"][path.name] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "outputs": " ".join("error" if text is None else short_hash(text) for text in outputs)}
    (DATA / "jinja-hashes.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def write_texts(folder, to):
    to = pathlib.Path(to)
    to.mkdir(parents=True, exist_ok=True)
    for path in templates(folder):
        for name, context in CONVERSATIONS.items():
            text = render(path.read_bytes().decode(), context)
            (to / f"{path.stem}.{name}.txt").write_bytes(b"(error)" if text is None else text.encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["cases"]:
        write_cases()
    elif sys.argv[1:2] == ["hashes"] and len(sys.argv) == 3:
        write_hashes(sys.argv[2])
    elif sys.argv[1:2] == ["texts"] and len(sys.argv) == 4:
        write_texts(*sys.argv[2:])
    else:
        sys.exit(__doc__)
