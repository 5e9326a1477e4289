#!/usr/bin/env python3
"""Parts text that `s3d-train data` made: some sequences of each kind to measure on, the rest to train on.

  hold_out.py --text TEXT --prompts PROMPTS --kinds '{"code": 6, "write": 3}' --held-out FILE --train FILE

PROMPTS is the file that TEXT was made of; its lines say "kind" or "category". Taken are the first prompts of each kind, by their place
in PROMPTS, among the first --among, so that a text that grows later is parted in the same way. Where TEXT has base
records (TEXT.records), links to them are laid beside both parts.
"""
import argparse
import json
import os


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("text", "prompts", "held-out", "train"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--kinds", required=True, type=json.loads)
    parser.add_argument("--among", type=int, default=400)
    options = parser.parse_args()
    prompts = [json.loads(line) for line in open(options.prompts, encoding="utf-8")]
    kinds = [prompt.get("kind") or prompt["category"] for prompt in prompts]
    with open(options.text, encoding="utf-8") as text:
        lines = sorted((line for line in text if line.endswith("\n")), key=lambda line: json.loads(line)["id"])
    left = dict(options.kinds)
    parts = {options.held_out: [], options.train: []}
    for line in lines:
        made = json.loads(line)
        kind = kinds[made["id"]]
        held = made["id"] < options.among and left.get(kind, 0) > 0 and len(made["answer_tokens"]) > 20
        if held:
            left[kind] -= 1
        parts[options.held_out if held else options.train].append(line)
    for path, part in parts.items():
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(part)
        records = options.text + ".records"
        if os.path.exists(records) and not os.path.lexists(path + ".records"):
            os.symlink(os.path.abspath(records), path + ".records")
        print(f"{path}: {len(part)} sequences, {sum(len(json.loads(line)['answer_tokens']) for line in part)} answer tokens")
    if any(left.values()):
        raise SystemExit(f"not enough sequences of {[kind for kind, count in left.items() if count]} were there")


if __name__ == "__main__":
    main()
