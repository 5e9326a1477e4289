#!/usr/bin/env python3
"""Looks at the machine code of the AVX-512 matmul, which machines without AVX-512 cannot time: sums must stay in
registers. Where a helper is not inlined, g++ 12 stores a sum after each vpdpbusd, and Zen 4 needs two cycles for that.
One store for eight products is allowed: at the end of a segment.

    avx512_code_test.py OBJECTS     the object files of the kernels, with semicolons between
"""
import re
import subprocess
import sys


def functions(path):
    """(name, its instructions) of an object file."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "-C", path], check=True, capture_output=True, text=True).stdout
    for part in re.split(r"\n(?=[0-9a-f]+ <)", text):
        name, *lines = part.splitlines()
        yield name, [line.split("\t", 1)[1] for line in lines if "\t" in line]


def stores_between_products(code):
    """The number of products, and of stores of a zmm from the first to the last of them."""
    products = [i for i, instruction in enumerate(code) if instruction.startswith("vpdpbusd")]
    if not products:
        return 0, 0
    inside = code[products[0]:products[-1]]
    return len(products), sum(bool(re.match(r"vmov\S+\s+%zmm\d+,.*\(", instruction)) for instruction in inside)


def main():
    path = next(p for p in sys.argv[1].split(";") if p.endswith("isa_avx512.cc.o"))
    seen, bad = 0, []
    for name, code in functions(path):
        products, stores = stores_between_products(code)
        seen += products
        if stores * 8 > products:
            bad.append(f"{name} {products} products, {stores} stores of sums between them")
    assert seen > 1000, f"{path}: {seen} vpdpbusd found, thousands expected"
    assert not bad, "\n".join(bad)
    print(f"{seen} vpdpbusd, few sums stored between them")


if __name__ == "__main__":
    main()
