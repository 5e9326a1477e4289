#!/usr/bin/env python3
"""Parts text that `s3d-train data` made: some sequences of each kind to measure on, the rest to train on.

  hold_out.py --text TEXT --prompts PROMPTS --kinds '{"code": 6, "write": 3}' --held-out FILE --train FILE
  hold_out.py --text TEXT --every 20 --held-out FILE --train FILE          the eighth sequence of every 20

PROMPTS is the file that TEXT was made of; its lines say "kind" or "category". Taken are the first prompts of each kind, by their place
in PROMPTS, among the first --among, so that a text that grows later is parted in the same way. Where TEXT has base
records (TEXT.records), links to them are laid beside both parts.
"""
import argparse
import json
import os


def first_of_kinds(lines, options):
    """For each line, whether it is one of the first of its kind that --kinds asks for."""
    prompts = [json.loads(line) for line in open(options.prompts, encoding="utf-8")]
    kinds = [prompt.get("kind") or prompt["category"] for prompt in prompts]
    left = dict(options.kinds)
    held = []
    for made in map(json.loads, lines):
        kind = kinds[made["id"]]
        held.append(made["id"] < options.among and left.get(kind, 0) > 0 and len(made["answer_tokens"]) > 20)
        if held[-1]:
            left[kind] -= 1
    if any(left.values()):
        raise SystemExit(f"not enough sequences of {[kind for kind, count in left.items() if count]} were there")
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("text", "held-out", "train"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--prompts")
    parser.add_argument("--kinds", type=json.loads)
    parser.add_argument("--among", type=int, default=400)
    parser.add_argument("--every", type=int)
    options = parser.parse_args()
    if (options.every is None) == (options.kinds is None) or (options.kinds is None) != (options.prompts is None):
        parser.error("give either --every, or --kinds and --prompts")
    with open(options.text, encoding="utf-8") as text:
        lines = [line for line in text if line.endswith("\n")]
    if options.every is not None:
        held = [i % options.every == 7 for i in range(len(lines))]
    else:
        lines.sort(key=lambda line: json.loads(line)["id"])
        held = first_of_kinds(lines, options)
    parts = {options.held_out: [line for line, taken in zip(lines, held) if taken],
             options.train: [line for line, taken in zip(lines, held) if not taken]}
    for path, part in parts.items():
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(part)
        records = options.text + ".records"
        if os.path.exists(records) and not os.path.lexists(path + ".records"):
            os.symlink(os.path.abspath(records), path + ".records")
        print(f"{path}: {len(part)} sequences, {sum(len(json.loads(line)['answer_tokens']) for line in part)} answer tokens")


if __name__ == "__main__":
    main()
