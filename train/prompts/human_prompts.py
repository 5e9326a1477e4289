#!/usr/bin/env python3
"""Writes prompts about texts that people wrote, one JSON object a line: {"category": ..., "prompt": ...}.

  human_prompts.py COUNT SEED FOLDER

FOLDER holds Debian packages, unpacked with `dpkg -x`: debian-handbook (a book in English and six more languages),
r-cran-janeaustenr (six novels), fortunes-de (German sayings and anecdotes). What a small model writes itself is easy to
guess; names, numbers and turns of phrase that it never says have to be copied, which a draft must learn too. No prompt
of an evaluation set is in here.
"""
import html
import json
import random
import re
import sys
import zlib
from pathlib import Path

from make_prompts import ON_TEXT

BOOK_LANGUAGES = {"German": "de-DE", "French": "fr-FR", "Spanish": "es-ES", "Italian": "it-IT", "Portuguese": "pt-BR",
                  "Dutch": "nl-NL"}
SAYINGS = ("anekdoten", "sprichworte", "wusstensie", "zitate", "kinderzitate", "quiz")
TO_ENGLISH = ("Translate {language} to English: {foreign}", "Translate {language} to English: {foreign}",
              "Translate the following {language} text into English.\n\n{foreign}", "What does this mean in English? {foreign}")
QUESTIONS = ("What is the text about?", "Who is named in the text, and what is said of them?", "What happens, and why?",
             "Which numbers or dates are given?", "What should the reader do, according to the text?",
             "What is the most important statement?")


def paragraphs_of_html(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    for body in re.findall(r'<div class="para">(.*?)</div>', text, re.S):
        yield re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", body))).strip()


def handbook(folder, language):
    pages = sorted((folder / "usr/share/doc/debian-handbook/html" / language).glob("*.html"))
    return [p for page in pages for p in paragraphs_of_html(page) if len(p) > 80]


def novels(folder):
    """Paragraphs of R's lazy-load data base: records of a length and a zlib stream, with a text for each line."""
    data = next(folder.rglob("janeaustenr/**/Rdata.rdb")).read_bytes()
    lines, at = [], 0
    while at + 4 < len(data):
        stream = zlib.decompressobj()
        record = stream.decompress(data[at + 4:])
        at = len(data) - len(stream.unused_data)
        # A text: its type and encoding, its length, its bytes.
        for found in re.finditer(rb"\x00\x04\x00\x09(....)", record, re.S):
            lines.append(record[found.end():found.end() + int.from_bytes(found[1], "big")].decode("utf-8", "replace"))
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    return [p for p in (re.sub(r"\s+", " ", p).strip() for p in paragraphs) if len(p) > 80]


def sayings(folder):
    texts = []
    for name in SAYINGS:
        text = (folder / "usr/share/games/fortunes/de" / name).read_text(encoding="utf-8", errors="replace")
        texts += [re.sub(r"\s+", " ", t).strip() for t in re.split(r"^%$", text, flags=re.M)]
    return [t for t in texts if 40 < len(t) < 400]


def passage(rng, paragraphs):
    """Neighbouring paragraphs, 300 to 2,500 characters."""
    wanted = rng.choice((400, 700, 1200, 2000))
    at = rng.randrange(len(paragraphs))
    text = paragraphs[at]
    while len(text) < wanted and at + 1 < len(paragraphs):
        at += 1
        text += "\n\n" + paragraphs[at]
    end = text.rfind(". ", 0, 2500)
    return text if len(text) < 2500 or end < 0 else text[: end + 1]


def one_sentence(rng, text):
    sentences = re.findall(r"[^.!?]{25,300}[.!?]", text)
    return rng.choice(sentences).strip() if sentences else text[:300]


def one_prompt(rng, books, foreign):
    text = passage(rng, rng.choice(books))
    draw = rng.random()
    if draw < 0.35:
        language = rng.choice(list(foreign) + ["German"] * 5)  # half of them German
        return "translation", rng.choice(TO_ENGLISH).format(language=language,
                                                            foreign=one_sentence(rng, rng.choice(foreign[language])))
    if draw < 0.6:
        template = rng.choice([t for t in ON_TEXT if "ummar" in t])
        return "summary", template.format(doc=text)
    if draw < 0.75:
        parts = [passage(rng, rng.choice(books))[:900] for _ in range(2)] + [text[:900]]
        return "question", "Answer the question with the help of the texts.\n\n" + "\n\n".join(parts) + \
            f"\n\nQuestion: {rng.choice(QUESTIONS)}\nAnswer:"
    if draw < 0.85:
        return "question", f"{text}\n\n{rng.choice(QUESTIONS)}"
    template = rng.choice([t for t in ON_TEXT if "{doc}" in t and "{doc2}" not in t])
    return "text", template.format(doc=text)


def main():
    count, seed, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    rng = random.Random(f"human-{seed}")
    books = [handbook(folder, "en-US"), novels(folder)]
    foreign = {name: handbook(folder, code) for name, code in BOOK_LANGUAGES.items()}
    foreign["German"] += sayings(folder)
    for source in books + list(foreign.values()):
        assert len(source) > 200, "a package is missing or has changed"
    for _ in range(count):
        category, prompt = one_prompt(rng, books, foreign)
        print(json.dumps({"category": category, "prompt": prompt}, ensure_ascii=False))


if __name__ == "__main__":
    main()
