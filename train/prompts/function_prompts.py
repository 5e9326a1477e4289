#!/usr/bin/env python3
"""Makes prompts about many Python functions, each about another one; one JSON object a line: {"kind", "prompt"}.

  function_prompts.py ask     --seed 1 --count 900           > ask.jsonl      asks the target to invent a head and a docstring
  s3d-train data -m MODEL --prompts ask.jsonl -o heads.jsonl --temperature 0.9 --max-answer 120
  function_prompts.py tasks   --seed 2 --heads heads.jsonl   > tasks.jsonl    these functions, to complete or to write
  function_prompts.py library --seed 3 --count 300           > library.jsonl  functions of this machine's Python, likewise

make_tasks.py knows a few dozen functions, and people ask for others. The word lists say what an invented function works on
and what it is about; of the library's functions only head and docstring are used. No benchmark's prompts are in here.
"""
import argparse
import ast
import json
import random
import re
import sysconfig
from pathlib import Path

INPUTS = """a list of integers|a list of floats|a string|a list of strings|two strings|two lists of integers|an integer|two integers|
three integers|a matrix as a list of lists|a dictionary with string keys|a list of tuples|a nested list|a string with brackets|
a sentence|a text with several lines|a list of dictionaries|a float|a list and an integer|a string and an integer|a date as a string|
a binary string|a list of words|a set of integers|an integer and a list|a tuple of numbers|a string of digits|a list of booleans|
a sorted list|a list of intervals|a grid of characters|a dictionary of lists|any value|a string with numbers in it""".replace("\n", "")
ABOUT = """counting|sorting in an unusual order|filtering by a condition|prime numbers|digits|divisors|palindromes|vowels and consonants|
upper and lower case|encoding a message|decoding a message|rotating|swapping items|removing duplicates|finding a maximum|
finding the nearest value|sums of parts|products|running totals|neighbouring items|even and odd|signs of numbers|rounding|powers|
roots|factorials|a recursive sequence|bits|number bases|Roman numerals|geometry of triangles|circles and areas|distances|angles|
prices and discounts|time and clocks|calendars|grades of pupils|a game of dice|playing cards|chess squares|matching pairs|brackets|
nested depth|paths of files|validating input|parsing|formatting a table|splitting|joining|replacing|comparing|similarity|
the most frequent item|the rarest item|first and last occurrence|missing items|the median|averages|intervals that overlap|
merging|grouping|partitioning|choosing a subset|permutations|the longest run|the shortest piece|substrings|prefixes|suffixes|
anagrams|positions of characters|removing characters|ASCII codes|checking an order|a special kind of number|greatest common divisors|
remainders|alternating items|reversing parts|polynomials|vectors|matrices|diagonals|graphs|stacks|simulation|scores|money|
temperatures|weights|names|e-mail addresses|versions|colours|words of a certain length|simple encryption|a threshold|counting steps|
the smallest change|balancing|fair sharing|capacity|ranking""".replace("\n", "")

ASK = ("Invent a Python function that takes {input} and has to do with {about}. Write only its `def` line and a docstring that says "
       "what it returns{examples}. Do not write the body.")
EXAMPLES = [", with two examples that begin with `>>>`", ", with two examples that begin with `>>>`",
            ", with three short examples", " in two or three sentences", ""]

HEAD = re.compile(r'((?:^(?:from|import) [^\n]+\n)*)\s*^(def (\w+)\([^\n]*\)[^\n]*:)\s*\n\s+(?:"""|\'\'\')(.+?)(?:"""|\'\'\')', re.M | re.S)

COMPLETE = ["Complete the following Python function.\n\n{}", "Complete the function below. Reply with the whole function.\n\n{}",
            "{}", "{}", "Please write the body of this function:\n\n{}", "Finish this code.\n\n{}",
            "Implement this function in Python and return only code.\n\n{}", "Complete this code:\n{}"]
WRITE = ["Write a Python function `{name}` for this: {what}", "Write a Python function. {what}", "{what} How do I do that in Python?",
         "Implement `{head}` in Python. {what}", "Write Python code, with a short explanation: {what}",
         "Write a Python function and three assertions that test it. {what}", "{what}\nGive me a Python function with type hints."]


def ask(rng, count):
    pairs = [(i, a) for i in INPUTS.split("|") for a in ABOUT.split("|")]
    for taken, about in rng.sample(pairs, min(count, len(pairs))):
        yield "ask", ASK.format(input=taken, about=about, examples=rng.choice(EXAMPLES))


def heads(paths):
    """(imports, def line, name, lines of the docstring) of every answer that holds them; each name once."""
    seen = set()
    for path in paths:
        for line in open(path, encoding="utf-8"):
            found = HEAD.search(json.loads(line).get("answer", ""))
            if not found or found[3] in seen:
                continue
            doc = [text.strip() for text in found[4].strip().splitlines()]
            if 20 < sum(map(len, doc)) < 700:
                seen.add(found[3])
                yield found[1], found[2], found[3], doc


def library():
    """As heads(), of the modules of Python's own library; without its tests. The same for the same version of Python."""
    root = Path(sysconfig.get_paths()["stdlib"])
    seen = set()
    for path in sorted(root.glob("*.py")) + sorted(root.glob("[a-z]*/*.py")):
        if re.search(r"test|idlelib|lib2to3|site-packages|dist-packages|turtledemo", str(path.relative_to(root))):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8", errors="replace")).body:
            doc = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if not doc or not 40 < len(doc) < 500 or len(node.body) < 3 or node.name.startswith("_") or node.name in seen:
                continue
            seen.add(node.name)
            yield "", f"def {node.name}({ast.unparse(node.args)}):", node.name, [text.strip() for text in doc.splitlines()]


def complete(rng, imports, head, doc):
    quotes = rng.choice(['"""', '"""', '"""', "'''"])
    space = rng.choice(["", " "])
    if not imports and re.search(r"\b(List|Dict|Tuple|Optional)\[", head):
        imports = "from typing import Dict, List, Optional, Tuple\n"
    lines = [f"    {text}" if text else "" for text in doc]
    lines[0] = f"    {quotes}{space}{doc[0]}"
    source = imports + ("\n\n" if imports else "") + head + "\n" + "\n".join(lines) + f"\n    {quotes}\n"
    return rng.choice(COMPLETE).format(rng.choice([source, f"```python\n{source}```"]))


def tasks(rng, functions):
    for imports, head, name, doc in functions:
        prose = " ".join(doc).split(">>>")[0]
        what = re.split(r"(?i)\b(?:examples?|args|parameters|returns?|raises)\s*:", prose)[0].strip()
        if rng.random() < 0.7 or len(what) < 20:
            yield "complete", complete(rng, imports, head, doc)
        else:
            yield "write", rng.choice(WRITE).format(name=name, head=head.rstrip(":"), what=what)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ask", "tasks", "library"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1000, help="of `ask` and `library`")
    parser.add_argument("--heads", nargs="*", default=[], help="JSONL files whose \"answer\"s hold the functions of `tasks`")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    if options.what == "ask":
        made = ask(rng, options.count)
    elif options.what == "tasks":
        made = tasks(rng, heads(options.heads))
    else:
        functions = list(library())
        made = tasks(rng, rng.sample(functions, min(options.count, len(functions))))
    for kind, prompt in made:
        print(json.dumps({"kind": kind, "prompt": prompt}, ensure_ascii=False))


if __name__ == "__main__":
    main()
