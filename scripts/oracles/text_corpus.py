#!/usr/bin/env python3
"""Writes tests/data/text/corpus.jsonl: the texts on which our tokenizers are compared with others.

One JSON object a line: "name", and "text" or (where the bytes are not UTF-8) "base64". The sentences were written for
this file; the random ones come from a fixed seed. Usage: text_corpus.py > tests/data/text/corpus.jsonl
"""
import base64
import json
import random
import sys
import unicodedata

SCRIPTS = {
    "latin": "The quick brown fox doesn't jump; it's resting, and they'll say WE'RE late. I'd've gone, y'all!",
    "german": "Übermäßig große Straßenbäume, schön grün — „wirklich“?",
    "french": "L'été dernier, j'ai mangé des œufs à Noël : ça coûte 3,50 €.",
    "vietnamese": "Hôm nay trời đẹp quá, chúng ta đi dạo nhé.",
    "turkish": "İstanbul'da ışıklı gecelerde çay içtik.",
    "polish": "Zażółć gęślą jaźń, żółta łódź płynie.",
    "greek": "Η γρήγορη αλεπού κοιμάται κάτω από το δέντρο.",
    "cyrillic": "Быстрая лиса спит под деревом, а собака лает.",
    "armenian": "Արագ աղվեսը քնում է ծառի տակ։",
    "georgian": "სწრაფი მელა ხის ქვეშ სძინავს.",
    "hebrew": "שועל מהיר ישן מתחת לעץ, שָׁלוֹם.",
    "arabic": "الثعلب السريع ينام تحت الشجرة، مَرْحَبًا.",
    "persian": "روباه سریع زیر درخت می‌خوابد ۱۲۳۴.",
    "devanagari": "तेज़ लोमड़ी पेड़ के नीचे सो रही है। १२३",
    "bengali": "দ্রুত শিয়াল গাছের নিচে ঘুমায়।",
    "tamil": "வேகமான நரி மரத்தடியில் தூங்குகிறது.",
    "telugu": "వేగవంతమైన నక్క చెట్టు కింద నిద్రపోతోంది.",
    "malayalam": "വേഗതയുള്ള കുറുക്കൻ മരത്തിനടിയിൽ ഉറങ്ങുന്നു.",
    "thai": "สุนัขจิ้งจอกนอนหลับอยู่ใต้ต้นไม้ ๑๒๓",
    "lao": "ໝາຈອກນອນຢູ່ໃຕ້ຕົ້ນໄມ້",
    "khmer": "កញ្ជ្រោងដេកនៅក្រោមដើមឈើ",
    "burmese": "မြေခွေးသည် သစ်ပင်အောက်တွင် အိပ်နေသည်။",
    "tibetan": "ཝ་མོ་ཤིང་འོག་ཏུ་ཉལ།",
    "chinese": "敏捷的狐狸在树下睡觉，狗在叫。一百二十三：１２３",
    "chinese_traditional": "敏捷的狐狸在樹下睡覺，「真的嗎？」",
    "japanese": "素早いキツネが木の下で眠っています。カタカナﾊﾝｶｸ。",
    "korean": "빠른 여우가 나무 아래에서 잠을 잔다. ㅋㅋㅋ",
    "ethiopic": "ፈጣን ቀበሮ ከዛፉ ሥር ይተኛል።",
    "cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ a\u180eb",
    "runes": "ᚠᚢᚦᚨᚱᚲ 𐌰𐌱𐌲 𒀀𒁀 𓀀𓁐",
}

OTHER = {
    "empty": "",
    "one_blank": " ",
    "one_letter": "a",
    "numbers": "0 1 12 123 1234 12345 123456 1234567 3.14159 1e-9 0xFF 1,000,000 -42 ½ ² Ⅷ ①②③ 10km 5th",
    "digits_glued": "abc123def4567ghi89",
    "contractions": "'s 't 're 've 'm 'll 'd 'S 'T 'RE 'VE 'M 'LL 'D don't DON'T x'y 'tis 're're ''s",
    "long_s_contraction": "it'\u017f and 'K'",
    "punctuation": "!!! ??? ... --- *** ((())) [[]] {{}} <<>> ~~ ^^ `` $$ %% ## @@ && || \\\\ // ;; :: ,, \"\" ''",
    "symbols": "€ £ ¥ © ® ™ § ¶ † ‡ • … ‰ ∞ ≈ ≠ ≤ ≥ ∑ ∫ √ → ← ⇒ ░▒▓ ♠♣♥♦ ☃ ✓",
    "default_signs": "a+b=c < d > e ^ f ~ g | h $ i $100 x+=1; y==2; <tag>",
    "mixed_words": "foo_bar fooBar FooBar foo-bar foo.bar foo/bar foo@bar.com https://example.org/a?b=c&d=%20#e",
    "blanks": " a  b   c    d     e      f",
    "leading_blanks": "    leading and trailing    ",
    "tabs": "\tone\t\ttwo \t three\t",
    "newlines": "a\nb\n\nc\n\n\nd\n\n\n\ne\n",
    "crlf": "line one\r\nline two\r\n\r\nline four\r\rmac\n\r",
    "blank_newline_mix": "a \nb\n c \n \n d\t\n\t e  \n\n  f \r\n g",
    "only_blanks": " " * 40,
    "only_newlines": "\n" * 40,
    "unicode_blanks": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\u200bh\ufeffi\u1680j\u202f k\u205f\u205f l",
    "controls": "a\x00b\x01c\x1bd\x7fe\x1cf\x0bg\x0ch",
    "combining": "e\u0301 a\u0300\u0301 n\u0303 Z\u0351\u036b\u0343a\u0325l\u0327g\u0329o\u0321 \u0301start",
    "emoji": "😀😃😄 👍🏽 ❤️ 🇩🇪🇫🇷 🏳️‍🌈 1️⃣ #️⃣",
    "emoji_zwj": "👨‍👩‍👧‍👦 👩🏿‍🚀 🧑‍🤝‍🧑 👁️‍🗨️ 🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "plane2": "𠀀𠀁𪚥 𝒜𝓑𝔠 𝟘𝟙𝟚 \U0010fffd\ue000",
    "unassigned": "\u0378\u0379 \U000e0fff \ufffe\uffff",
    "replacement": "a\ufffdb\ufffd\ufffdc",
    "sentencepiece_blank": "a▁b ▁ ▁▁c",
    "long_word": "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "same_letter": "a" * 300,
    "same_sign": "=" * 257,
    "byte_names": "<0x0A><0x41> <0xE2>",
    "python": "def f(x: int) -> str:\n    \"\"\"Doc.\"\"\"\n    if x > 10:\n        return f\"{x:>08.3f}\"\n\treturn None  # ok\n",
    "cpp": "#include <vector>\nint main() {\n  std::vector<int> v{1, 2, 3};\n  for (auto&& x : v) { x <<= 2; }\n  return 0;\n}\n",
    "json": "{\"a\": [1, 2.5, null], \"b\": {\"c\": \"d\\n\"}, \"e\": true}",
    "html": "<!DOCTYPE html><div class=\"x\"><b>bold</b><br/><table><tr><td>1</td></tr></table></div></s><s>",
    "sql": "SELECT a.id, COUNT(*) AS n FROM t AS a WHERE a.x >= 10 AND a.y != 'z' GROUP BY 1;",
    "shell": "find . -name '*.cc' | xargs grep -n \"foo\\$bar\" > /tmp/out 2>&1 && echo $?",
    "diff": "--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@\n-old\n+new\n \tsame\n",
    "markdown": "# Title\n\n- item *one*\n- `code`\n\n```py\nx = 1\n```\n\n| a | b |\n|---|---|\n",
    "special_chatml": "<|im_start|>system\nYou are.<|im_end|>\n<|im_start|>user\nHi <|im_end|><|endoftext|>",
    "special_glued": "a<|im_end|>b <|im_end|> c<|im_start|><|im_start|>",
    "special_half": "<|im_start <|im_end| im_end|> <|im_<|im_end|>end|>",
    "special_fim": "<|fim_prefix|>def f():<|fim_suffix|>\n<|fim_middle|><file_sep><repo_name>x<fim_prefix>",
    "special_gemma": "<bos><start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n<eos><pad><unk><unused5>[multimodal]",
    "special_llama": "<s>[INST] <<SYS>>\nBe.\n<</SYS>>\n\nHi [/INST] Ok </s><unk> <s> x</s>",
    "special_llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "special_spaced": " <|im_start|> user <|im_end|>  \n ",
    "tool_call": "<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
}

# Not among the texts on which the small vocabularies were trained (text_vocab.py leaves names with "extra_" out).
EXTRA = {
    "extra_decomposed": unicodedata.normalize("NFD", "café naïve Việt Nam ñandú Ångström Žižek ёж Ϊός בּ") + " x\u0315\u0300\u05aeb",
    "extra_decomposed_hangul": unicodedata.normalize("NFD", "한국어 빠른 여우") + " \u1112\u1161",
    "extra_decomposed_kana": unicodedata.normalize("NFD", "ガギグゲゴ パピプペポ だいがく"),
    "extra_decomposed_indic": "\u0928\u093c \u0915\u093c \u0958 \u09c7\u09be \u0b47\u0b56 \u0bc6\u0bbe \u0dd9\u0dcf",
    "extra_singletons": "\u212b \u2126 \u212a \u2000 \uf900 \ufa10 \u0340 \u0344 \u1f71 \U0002f800 \u0387",
    "extra_stays": "\ufb01 \u00bd \u3392 \uff21 \u2460 \u1e9b\u0323",
    "extra_near_special": "e<|im_end|>\u0301 e\u0301<|im_end|> a\u0300<tool_call>\u0300",
    "extra_cases": "camelCase HTTPServer XMLHttpRequest iPhone McDonald ABC abc Abc aBC ABc éCole ÉCOLE ÀÉÎ Straße ǅungla "
                   "ΑΒΓαβγ АБВабв Ⅷⅷ ªº ʰʲ DON'T Don'T it'S we'LL x'll 'Tis rock'n'roll l'été O'Neil's",
    "extra_slashes": "a/b // /// x/\n/\r\n /usr/bin/ http://a/b/\n\n !!/\n?/ ",
    "extra_numbers": "1 12 123 1234 12345 1234567 3.14159 1,000,000 ١٢٣٤ ²³¹ Ⅻ½ 10e-5 v2.0.1 a1b22c333d4444",
    "extra_signs": "!a ?Bc #tag @name _x -y +z $HOME `code` ~/x [a]{b}(c) \\n \"q\" 'q' <b> &amp; ^2 |x| …a —b ！中 。文、",
    "extra_marks": "\u0301 \u0301a a\u0301b !\u0301 1\u0301 \u093f \u0e31\u0e32 \u20ac\u0338 =\u0338",
    "extra_cjk_mix": "一a二1三 四,五。ァア ー々〆 ㄅㄆ ㅋㅎ 中文abc中文 日本語カタカナひらがな한글",
    "extra_ends": "trailing   ",
    "extra_line_ends": "a  \n  b\r\n\r\n  c\n \n\n\td \r e",
}

BROKEN = {
    "broken_lone_continuation": b"a\x80b\xbfc",
    "broken_truncated_2": b"caf\xc3",
    "broken_truncated_3": b"x\xe2\x82 y",
    "broken_truncated_4": b"x\xf0\x9f\x98 y \xf0\x9f",
    "broken_bad_lead": b"a\xfe\xffb\xf8\x88\x80\x80\x80c",
    "broken_after_lead": b"\xe2ab\xc3(\xf0\x28\x8c\xbc",
    "broken_latin1": "Grüße, à bientôt".encode("latin-1"),
    "broken_utf16": "hello".encode("utf-16"),
    "broken_in_word": b"he\xffllo wor\xe9ld",
    "broken_only": bytes(range(0x80, 0xC0)),
    "broken_near_special": b"\xe2\x82<|im_end|>\x80<eos>\xff",
}

# Forms that no encoder writes; the reference does not find fault with all of them, so they are only required not to
# fail, and are not compared.
ILL_FORMED = {
    "ill_overlong": b"\xc0\x80 \xe0\x80\xaf \xf0\x80\x80\xaf",
    "ill_surrogates": b"\xed\xa0\x80 \xed\xb0\x80",
    "ill_too_large": b"\xf4\x90\x80\x80 \xf7\xbf\xbf\xbf",
}


def random_texts(count):
    rng = random.Random(20240601)
    alphabets = [
        "abcdefgh", "ABC xyz", "0123456789", " \t\n\r", "  \n", ".,;:!?'\"-+*/=<>|~^$#@", "'stmdrevl STMD",
        "äöüßéèçñ", "абвгд", "中文字漢", "あいうえ", "가나다라", "अआइ्ा", "אבגָ", "ابتَ", "😀👍🏽‍❤️", "\u0301\u0308\u200d\u00a0\u3000",
        "½²①Ⅷ٣४", "▁_",
    ]
    for i in range(count):
        parts = []
        for _ in range(rng.randint(1, 12)):
            alphabet = rng.choice(alphabets)
            parts.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 6))))
        yield f"random_{i:03d}", "".join(parts)


def main():
    lines = [{"name": n, "text": t} for n, t in SCRIPTS.items()]
    lines += [{"name": n, "text": t} for n, t in OTHER.items()]
    for name, raw in {**BROKEN, **ILL_FORMED}.items():
        lines.append({"name": name, "base64": base64.b64encode(raw).decode()})
    lines += [{"name": n, "text": t} for n, t in random_texts(250)]
    lines += [{"name": n, "text": t} for n, t in EXTRA.items()]
    for line in lines:
        sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
