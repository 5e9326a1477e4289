"""Tests the Markdown pages: links lead somewhere, lines have a width, and no page speaks of a paper that is not here."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = ("build", ".", "dist", "shared")  # beginnings of folders that are not the project's
WIDTH = 120
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Papers that their authors had and a reader has not.
PAPERS = re.compile(r"\b(DESIGN|STYLE|HOUSE)(\.md)?,? (section|rule)|\((DESIGN|STYLE|HOUSE)\b")


def pages():
    found = [path for path in ROOT.rglob("*.md") if not path.relative_to(ROOT).parts[0].startswith(SKIPPED)]
    github = ROOT / ".github"
    return sorted(found + (list(github.rglob("*.md")) if github.is_dir() else []))


def plain_lines(text):
    """(number, line) of all lines that are not code."""
    code = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            yield number, line


def anchor_of(heading):
    """As GitHub makes it."""
    words = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(page):
    return {anchor_of(line.lstrip("#")) for _, line in plain_lines(page.read_text()) if re.match(r"#+ ", line)}


class DocsTest(unittest.TestCase):
    def check(self, problems):
        if problems:
            self.fail("\n" + "\n".join(problems))

    def test_relative_links_lead_to_files_and_headings(self):
        problems = []
        for page in pages():
            text = "\n".join(re.sub(r"`[^`]*`", "", line) for _, line in plain_lines(page.read_text()))
            for target in LINK.findall(text):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path) if path else page
                place = f"{page.relative_to(ROOT)}: {target}"
                if not file.exists():
                    problems.append(f"{place}: there is no such file")
                elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                    problems.append(f"{place}: there is no such heading")
        self.check(problems)

    def test_lines_of_text_fit_the_width(self):
        problems = []
        for page in pages():
            for number, line in plain_lines(page.read_text()):
                if len(line) > WIDTH and not line.lstrip().startswith("|"):
                    place = f"{page.relative_to(ROOT)}:{number}"
                    problems.append(f"{place}: {len(line)} columns, at most {WIDTH}: scripts/wrap-docs helps")
        self.check(problems)

    def test_nothing_cites_a_paper_that_is_not_in_the_tree(self):
        sources = [p for folder in ("src", "train", "include", "examples", "fuzz", "bench", "tests", "scripts")
                   for p in (ROOT / folder).rglob("*") if p.suffix in (".h", ".cc", ".py", ".sh", ".txt", ".cmake")]
        problems = []
        for path in pages() + sources:
            if path == Path(__file__).resolve():
                continue
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
                if PAPERS.search(line):
                    problems.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
        self.check(problems)

    def test_sources_name_only_pages_that_are_there(self):
        problems = []
        for folder in ("src", "train", "include", "examples", "fuzz", "bench", "tests", "scripts", "adapters"):
            for path in (ROOT / folder).rglob("*"):
                if path.suffix not in (".h", ".cc", ".py", ".sh", ".txt") or path == Path(__file__).resolve():
                    continue
                for name in re.findall(r"(?<!ggml's )\bdocs/[\w./-]+\.md\b", path.read_text(errors="replace")):
                    if not (ROOT / name).exists():
                        problems.append(f"{path.relative_to(ROOT)} names {name}")
        self.check(problems)

    def test_picture_and_tables_are_what_the_figures_give(self):
        done = subprocess.run([sys.executable, ROOT / "scripts/plot", "--check"], capture_output=True, text=True)
        self.assertEqual(0, done.returncode, done.stderr)


if __name__ == "__main__":
    unittest.main()
