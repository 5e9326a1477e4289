"""Small templates, each for one thing that the template language can do, and the variables they see."""

TOOL = {"name": "f", "items": [1, 2], "get": "key", "d": {"a": None, "b": True, "c": 1.5, "ü": "x<y>&'\""}}
WORDS = ["pear", "Apple", "fig", "apple"]
PEOPLE = [{"name": "Ann", "age": 30, "on": True, "in": {"x": 1}}, {"name": "bob", "age": 25, "on": False, "in": {"x": 2}},
          {"name": "Cy", "age": 30, "on": True}]

# name -> (template, variables); those that share variables stand together.
PLAIN = {
    "text": "Hello, {{ 'world' }}!\n",
    "trailing_newlines": "a\n\n",
    "crlf": "a\r\nb\rc {{- '\r\n' }}\r\n",
    "empty": "",
    "trim_blocks": "{% if true %}\n  a\n{% endif %}\nb\n   {% if true %}c{% endif %}   \n{{ 1 }}\n x",
    "lstrip_blocks": "x\n  {% set a = 1 %}\n \t {{ a }}\n  y {% if a %} z{% endif %}\n   {# note #}\nend",
    "lstrip_plus": "x\n  {%+ set a = 1 %}y\n  {%+ if a +%}\nz{% endif %}",
    "minus": "a  \n {%- if true -%} \n b \n {%- endif -%} \n c {{- 'd' -}} \n e {#- x -#}  \n f",
    "comment": "a{# {{ nothing }} {% if %} #}b{#\n#}\nc",
    "raw": "{% raw %}{{ x }} {% if %}{% endraw %}|  {%- raw -%}  a {{ b }}  {%- endraw -%}  c",
    "raw_lines": "a\n  {% raw %}\n  x\n  {% endraw %}\nb",
    "line_statements_are_text": "# if x\n## y\n",
    "literals": "{{ 1 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1.5 }} {{ 1e3 }} {{ 1.5e-7 }} {{ true }} {{ False }} "
                "{{ none }} {{ None }} {{ 'a' 'b' }} {{ 00 }}",
    "escapes": r"""{{ 'a\n\tb\\ \'q\' "x" \x41 \u00e9 \U0001F600 \101 \d \
end' }}{{ "it's" }}""",
    "floats": "{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 1e-5 }} {{ 0.0001 }} {{ 1e22 }} {{ 5e-324 }} "
              "{{ -0.0 }} {{ 100.0 }} {{ 1e300 * 1e10 }} {{ 2.5e-10 }}",
    "arithmetic": "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} "
                  "{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ true + 1 }} {{ 1 - 2 - 3 }} {{ 2 + 3 * 4 }} "
                  "{{ (2 + 3) * 4 }} {{ +3 }} {{ - -3 }} {{ 3 * 1.5 }}",
    "texts": "{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'ab' * 0 }}{{ 'ab' * -1 }} {{ 'a' ~ 1 ~ none ~ true ~ [1] ~ x }} "
             "{{ 1 ~ 2 * 3 }}",
    "lists": "{{ [1, 'a', none, true, 1.5, [], {}, (), (1,), (1, 2)] }} {{ [1] + [2] }} {{ [0] * 3 }} {{ (1,) + (2,) }} {{ [1,] }}",
    "dicts": "{{ {'a': 1, \"b\": {'c': [1]}, 2: 'x', none: 3, (1, 2): 4} }} {{ {'a': 1, 'a': 2} }} {{ {} }} "
             "{{ {1: 'int', true: 'bool', 1.0: 'float'} }}",
    "repr": r"""{{ ["it's", '"', "it's \"q\"", 'a\nb\t\\', 'é😀', '\x00\x7f\u200b\u00a0', ''] }}""",
    "comparisons": "{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] < [1, 3] }} {{ [1] < [1, 0] }} "
                   "{{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ none == none }} {{ x == y }} {{ [1] == (1,) }} "
                   "{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ 1 != 2 }} {{ 2 >= 2 }} {{ 2 <= 1 }} {{ 3 > 2 > 1 == true }}",
    "in": "{{ 1 in [1, 2] }} {{ 3 not in [1, 2] }} {{ 'b' in 'abc' }} {{ '' in 'abc' }} {{ 'a' in {'a': 1} }} {{ 1 in {'a': 1} }} "
          "{{ 'a' in x }} {{ not 1 in [1] }} {{ 1 in (1,) }} {{ [1] in [[1]] }} {{ 2 in range(3) }} {{ x in [1] }}",
    "logic": "{{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 'x' }} {{ '' or none }} {{ not '' }} {{ not not 1 }} {{ 1 or 0 and 0 }} "
             "{{ x and y }} {{ none or [] or {} or 'end' }}",
    "truth": "{% for v in [0, 1, 0.0, '', 'a', [], [0], {}, {'a': 0}, none, true, (), x, range(0), range(1)] %}"
             "{{ 'T' if v else 'F' }}{% endfor %}",
    "inline_if": "{{ 1 if true else 2 }} {{ 1 if false else 2 }} [{{ 1 if false }}] {{ 1 if false else 2 if false else 3 }} "
                 "{{ (1 if true) + 1 }}",
    "precedence": "{{ 1 + 2 ~ 3 * 2 }} {{ not true == false }} {{ 'a' ~ 'b' | upper }} {{ -1 | abs }} {{ 2 * 'ab' | length }} "
                  "{{ 1 + 1 == 2 and 'a' in 'ab' }} {{ 'x' if 1 in [1] else 'y' }}",
    "if": "{% if 0 %}a{% elif 0 %}b{% elif 1 %}c{% else %}d{% endif %}{% if 0 %}x{% else %}y{% endif %}{% if 1: %}z{% endif %}",
    "for": "{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}"
           "{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.cycle('a', 'b') }};{% endfor %}",
    "for_else": "{% for i in [] %}x{% else %}none{% endfor %}{% for i in [1] %}y{% else %}none{% endfor %}",
    "for_if": "{% for i in range(10) if i % 3 == 1 %}{{ i }}{{ loop.index }}{{ loop.last }} {% else %}none{% endfor %}"
              "{% for i in [1] if i > 1 %}x{% else %}none{% endfor %}",
    "for_unpack": "{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}{{ b }} {% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}",
    "for_text": "{% for c in 'aé😀' %}[{{ c }}]{% endfor %}{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %}{% for v in x %}no{% endfor %}",
    "for_tuple": "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}{% for i in (1, 2) if i > 1 %}{{ i }}{% endfor %}",
    "for_nested": "{% for a in [1, 2] %}{% for b in 'xy' %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "for_recursive": "{% for n in [[1, [2, [3]]], 4] recursive %}{% if n is sequence %}({{ loop.depth }}{{ loop(n) }}){% else %}{{ n }}"
                     "{% endif %}{% endfor %}",
    "break": "{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}"
             "{% for i in [1, 2] %}{% for j in [1, 2] %}{% break %}{% endfor %}{{ i }}{% else %}no{% endfor %}",
    "break_then_else": "{% for i in [1, 2] %}{{ i }}{% break %}{% else %}else{% endfor %}{% for i in [1, 2] %}{% continue %}{% else %}else{% endfor %}"
                       "{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}else{% endfor %}",
    "break_in_set": "{% for i in [1, 2] %}{% set x %}a{% if i == 2 %}{% break %}{% endif %}{% endset %}{{ x }}{{ i }}{% endfor %}",
    "scopes": "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i + 5 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}",
    "loop_scope": "{% for i in [1, 2] %}{% if y is defined %}!{% endif %}{% set y = i %}{{ y }}{% endfor %}[{{ y }}]{{ i }}",
    "namespace": "{% set ns = namespace(a=1, b='x') %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% set ns.c = i %}{% endfor %}{{ ns.a }}{{ ns.b }}"
                 "{{ ns.c }}{{ ns['a'] }}[{{ ns.zz }}]{{ ns.zz is defined }}{{ namespace({'q': 2}).q }}",
    "set_many": "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set ns = namespace() %}{% set ns.x, d = 'p', 'q' %}{{ ns.x }}{{ d }}",
    "set_block": "{% set a %}x{{ 1 }}  {% endset %}[{{ a }}]{% set b | trim | upper %}  y {% endset %}[{{ b }}]{{ a is string }}",
    "with": "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a }}{{ c is defined }}",
    "filter_block": "{% filter trim | upper %}  a{% for i in [1] %}b{% endfor %}  {% endfilter %}|",
    "macro": "{% macro f(a, b=2, c='x') %}{{ a }}-{{ b }}-{{ c }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c='y') }}{{ f(b=1, a=2) }}{{ f() }}",
    "macro_default_sees_parameters": "{% macro f(a, b=a ~ '!') %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}",
    "macro_scope": "{% set g = 1 %}{% macro f() %}{{ g }}{% set g = 5 %}{{ g }}{{ h }}{% endmacro %}{% set g = 2 %}{{ f() }}{% set h = 7 %}{{ f() }}{{ g }}",
    "macro_in_loop": "{% for i in [1, 2] %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}",
    "macro_recursion": "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "macro_varargs": "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}{{ f(1) }}",
    "macro_spread": "{% macro f(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(*[1, 2], c=3) }}{{ f(**{'a': 1, 'b': 2, 'c': 3}) }}",
    "macro_result": "{% macro f() %} a {% endmacro %}{% set r = f() | trim %}[{{ r }}]{{ r == 'a' }}{{ f() ~ 'x' }}{{ f is callable }}",
    "caller": "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in{% endcall %}"
              "{% macro each(l) %}{% for i in l %}{{ caller(i, i * 2) }}{% endfor %}{% endmacro %}{% call(a, b) each([1, 2]) %}{{ a }}:{{ b }} {% endcall %}",
    "generation": "{% set a = 1 %}{% generation %}\nx{{ a }}{% set a = 2 %}{% endgeneration %}\n{{ a }}",
    "range": "{{ range(3) | list }}{{ range(1, 4) | list }}{{ range(5, 0, -2) | list }}{{ range(3)[1] }}{{ range(5)[1:3] | list }}{{ range(0) | list }}"
             "{{ range(3) | length }}{{ 2 in range(3) }}",
    "dict_function": "{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}{{ dict([('k', 'v')]) }}{{ dict() }}",
    "strftime": "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} {{ strftime_now('%d %b %Y, %B %A %j') }}",
    "undefined": "[{{ x }}][{{ x is defined }}][{{ x | default('d') }}][{{ x or 'o' }}][{{ x | length }}][{{ x | list }}][{{ {'a': 1}.b }}]"
                 "[{{ [1][5] }}][{{ 'abc'[9] }}][{{ none.x }}][{{ (1).x is defined }}][{{ x | string }}][{{ x | join('-') }}]",
    "unicode": "{{ 'äöü' | length }}{{ 'aé😀b'[1:3] }}{{ 'aé😀b'[-1] }}{{ 'äß' | upper }}{{ 'ÀÉΣΑΣ' | lower }}{{ '\u00a0\u3000x\u2003' | trim }}"
               "{{ 'ÄÖ'.lower() }}{{ 'éa'.capitalize() }}{{ '日本語'[::-1] }}{{ 'İ' | lower }}",
    "slices": "{% set l = [0, 1, 2, 3, 4] %}{{ l[1:3] }}{{ l[:2] }}{{ l[3:] }}{{ l[-2:] }}{{ l[:-2] }}{{ l[::2] }}{{ l[::-1] }}{{ l[4:1:-1] }}{{ l[10:] }}"
              "{{ l[-10:2] }}{{ l[:] }}{{ l[1:none] }}{{ 'abcdef'[1:4] }}{{ 'abcdef'[::-2] }}{{ (1, 2, 3)[1:] }}{{ l[3:1] }}{{ l[-1:-4:-2] }}{{ l[10:0:-3] }}",
    "index": "{% set l = [[1, 2], {'a': 3}] %}{{ l[0][1] }}{{ l[-1].a }}{{ l[1]['a'] }}{{ l.0.1 }}{{ {'0': 5}['0'] }}{{ {0: 6}[0] }}{{ 'abc'[1] }}{{ 'abc'[-1] }}"
             "{{ l[true] }}{{ (1, 2)[0] }}",
    "autostring": "{{ 'a' if 'b' is string else 1 }}{{ \"a\\\"b\" }}",
    "tests": "{% for v in [0, 1.5, 'a', 'A', true, none, [], {}, (), x, range(2)] %}{{ v is defined }}{{ v is undefined }}{{ v is none }}{{ v is boolean }}"
             "{{ v is true }}{{ v is false }}{{ v is integer }}{{ v is float }}{{ v is number }}{{ v is string }}{{ v is mapping }}{{ v is iterable }}"
             "{{ v is sequence }}{{ v is callable }}{{ v is lower }}{{ v is upper }} {% endfor %}",
    "tests_arguments": "{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 1 is eq 1 }}{{ 1 is equalto(2) }}{{ 1 is ne 2 }}{{ 2 is gt 1 }}"
                       "{{ 2 is ge 2 }}{{ 1 is lt 2 }}{{ 1 is le 1 }}{{ 1 is in [1] }}{{ 'a' is in 'abc' }}{{ none is sameas none }}{{ 1 is not odd }}{{ 2 is not in [1] }}"
                       "{{ 'upper' is filter }}{{ 'nothing' is filter }}{{ 'odd' is test }}{{ 1 is defined and 2 is defined }}{{ 1 is not none or x }}",
    "text_methods": "{{ ' a '.strip() }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.strip('ab') }}|{{ 'a.b.c'.split('.') }}|"
                    "{{ ' a  b '.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'a b  c'.split(none, 1) }}|{{ ' a b c '.rsplit(none, 1) }}|"
                    "{{ ''.split() }}{{ ''.split(',') }}|{{ 'abab'.replace('a', 'x') }}|{{ 'aaa'.replace('a', 'b', 2) }}|{{ 'ab'.replace('', '-') }}|"
                    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'bc')) }}{{ 'abc'.startswith('b', 1) }}|{{ 'abcabc'.find('c') }}{{ 'abcabc'.rfind('c') }}"
                    "{{ 'abc'.find('x') }}{{ 'éb'.index('b') }}|{{ 'banana'.count('an') }}|{{ '-'.join(['a', 'b']) }}|{{ 'aB'.swapcase() }}|{{ 'they are bill\\'s'.title() }}|"
                    "{{ 'hELLO wORLD'.capitalize() }}|{{ 'a\\nb\\r\\nc\\n'.splitlines() }}{{ 'a\\nb'.splitlines(true) }}|{{ 'pre-x'.removeprefix('pre-') }}"
                    "{{ 'x.py'.removesuffix('.py') }}|{{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'a'.partition('=') }}{{ 'a'.rpartition('=') }}|"
                    "{{ 'a'.ljust(3, '.') }}{{ 'a'.rjust(3) }}{{ 'a'.center(4, '*') }}{{ 'ab'.center(5, '*') }}{{ '-5'.zfill(4) }}|{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}"
                    "{{ ' '.isspace() }}{{ 'A'.isupper() }}{{ 'a'.islower() }}{{ ''.isalpha() }}",
    "format": "{{ '{} {}'.format(1, 'a') }}|{{ '{1}{0}'.format('a', 'b') }}|{{ '{x}-{y}'.format(x=1, y=2) }}|{{ '{{}}'.format() }}|{{ '{:5s}|{:5d}'.format('a', 7) }}|"
              "{{ '{:05d} {:.2f} {:08.3f}'.format(42, 3.14159, -2.5) }}|"
              "{{ '{:.2s}'.format('abc') }}|{{ '{}'.format([1, 'a']) }}|{{ '{}'.format(1.0) }}",
    "percent": "{{ '%s-%s' % ('a', 1) }}|{{ '%d%%' % 5 }}|{{ '%5.2f|%-5s|%05d|%r|%5d' % (3.14159, 'a', -42, 'q', 3) }}|{{ '%(a)s' % {'a': 1} }}|{{ '%s' % [1, 2] }}|"
              "{{ '%s %s' | format('x', 2) }}|{{ '%s' % none }}",
    "dict_methods": "{% set d = {'a': 1, 'b': none} %}{{ d.get('a') }}{{ d.get('z') }}{{ d.get('z', 'def') }}{{ d.get('b', 'x') }}{{ d.items() | list }}{{ d.keys() | list }}{{ d.values() | list }}"
                    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{{ d.items() }}{{ d.items() | length }}{{ d.keys() is sequence }}",
    "list_methods": "{{ [1, 2, 1].count(1) }}{{ [1, 2].index(2) }}{{ (1, 2).index(1) }}",
    "filters_text": "{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'aB c' | upper }}|{{ 'aB c' | lower }}|{{ 'hello wORLD-foo (bar) it\\'s' | title }}|{{ 'aBC dE' | capitalize }}|"
                    "{{ 'aaa' | replace('a', 'b', 2) }}|{{ 123 | replace(2, 'x') }}|{{ 1.5 | string }}|{{ [1] | string }}|{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|"
                    "{{ 'a\\n\\nb' | indent('>', first=true, blank=true) }}|{{ 'a' | center(5) }}|{{ 'one two, three' | wordcount }}|{{ '<a href=\"x\">&\\'' | escape }}|{{ 'abc' | reverse }}|{{ 'abc' | first }}{{ 'abc' | last }}",
    "filters_number": "{{ '42' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ '3.9' | int }}{{ 3.9 | int }}{{ '0x1f' | int(base=16) }}{{ '1f' | int(0, 16) }} {{ '1.5' | float }} {{ 'x' | float(2.5) }} {{ 3 | float }} "
                      "{{ -5 | abs }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ 2.9 | round(method='floor') }} {{ 42 | round }} {{ none | int }} {{ true | int }} {{ ' 5 ' | int }}",
    "filters_list": "{{ [1, 2, 3] | length }}{{ [1, 2] | first }}{{ [1, 2] | last }}{{ [1, 2] | join('-') }}{{ [1, none, 'a'] | join }}{{ 'abc' | list }}{{ [3, 1, 2] | sort }}{{ [3, 1, 2] | sort(reverse=true) }}"
                    "{{ [1, 2, 1] | unique | list }}{{ [3, 1] | min }}{{ [3, 1] | max }}{{ [1, 2.5] | sum }}{{ [1, 2] | reverse | list }}[{{ [] | first }}][{{ [] | min }}]{{ [[1], [2]] | sum(start=[]) }}",
    "safe": "{{ 'a' | safe + '<b>' }}{{ '<b>' + ('a' | safe) }}{{ ('<a>' | safe) ~ '<b>' }}{{ ('<a>' | safe).strip() + '&' }}{{ ('<' | safe)[0] + '<' }}{{ ('a' | safe) == 'a' }}{{ ('<' | safe) | string + '<' }}{{ ('<' | safe | upper) + '>' }}{{ ['<' | safe] }}",
    "soft_errors": "{% if false %}{{ 1 | no_such_filter }}{{ 1 is no_such_test }}{% endif %}ok{{ 1 if true else 1 | nope }}",
    "hidden": "{% for i in [1] %}{{ given }}{% endfor %}{% set given = 2 %}{{ given }}",
    "not_hidden": "{{ given }}{% if true %}{% set given = 2 %}{% endif %}{{ given }}",
    "tojson_literal": "{{ {'a': [1, 2.0, none, true, 'x\"\\n\\t\\\\é\\x01\\x7f/<>&'], 1: {}, none: [], 1.5: 'f', true: 0} | tojson }}",
    "tojson_style": "{{ {'b': [1, {'c': []}], 'a': {}} | tojson(indent=2) }}{{ {'b': 1, 'a': [2, 3]} | tojson(separators=(',', ':'), sort_keys=true) }}{{ 'é😀\\x7f' | tojson(ensure_ascii=true) }}"
                    "{{ [1, [2]] | tojson(indent='--') }}{{ [1] | tojson(indent=0) }}{{ 'é' | tojson(true) }}",
    "generators": "{{ ([1, 2] | map('string')) is iterable }}{% set g = [1, 2] | select %}{{ g | list }}{{ g | list }}{{ 'T' if [] | select else 'F' }}{{ ([1] | map('abs')) is sequence }}{{ ({} | items) | list }}",
}

REFUSED = {
    "error_undefined_attribute": "{{ x.y }}",
    "error_undefined_add": "{{ x + 1 }}",
    "error_undefined_call": "{{ x() }}",
    "error_undefined_item": "{{ x['a'] }}",
    "error_undefined_order": "{{ x < 1 }}",
    "error_types": "{{ 'a' + 1 }}",
    "error_types_list": "{{ [1] + (2,) }}",
    "error_zero": "{{ 1 // 0 }}",
    "error_raise": "{{ raise_exception('no') }}",
    "error_append": "{% set l = [] %}{% set _ = l.append(1) %}",
    "error_update": "{{ {}.update({'a': 1}) }}",
    "error_pop_key": "{{ {'pop': 1}.pop() }}",
    "error_order_none": "{{ none < 1 }}",
    "error_sort_mixed": "{{ [1, 'a'] | sort }}",
    "error_length_number": "{{ 1 | length }}",
    "error_length_generator": "{{ [1] | map('string') | length }}",
    "error_last_generator": "{{ [1] | select | last }}",
    "error_iterate_number": "{% for i in 5 %}{% endfor %}",
    "error_iterate_none": "{% for i in none %}{% endfor %}",
    "error_unpack": "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "error_call_text": "{{ 'a'() }}",
    "error_macro_many": "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
    "error_macro_unknown": "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
    "error_filter_unknown": "{{ 1 | no_such_filter }}",
    "error_test_unknown": "{{ 1 is no_such_test }}",
    "error_filter_in_loop": "{% if false %}{% for i in [1] %}{{ i | no_such_filter }}{% endfor %}{% endif %}",
    "error_soft_used": "{% if true %}{{ 1 | no_such_filter }}{% endif %}",
    "error_tag": "{% nothing %}",
    "error_unclosed_if": "{% if 1 %}a",
    "error_unclosed_print": "{{ 1",
    "error_unclosed_comment": "a {# b",
    "error_unclosed_text": "{{ 'a }}",
    "error_unclosed_raw": "{% raw %} a",
    "error_brackets": "{{ [1) }}",
    "error_stray_end": "a{% endif %}",
    "error_two_values": "{{ 1 2 }}",
    "error_empty_print": "{{ }}",
    "error_character": "{{ a ? b }}",
    "error_break_outside": "{% break %}",
    "error_break_in_macro": "{% for i in [1] %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
    "error_loop_set": "{% for i in [1] %}{% set loop = 1 %}{% endfor %}",
    "error_assign_constant": "{% set true = 1 %}",
    "error_set_attribute": "{% set d = {} %}{% set d.a = 1 %}",
    "error_range_large": "{{ range(100001) | list }}",
    "error_default_order": "{% macro f(a=1, b) %}{% endmacro %}",
    "error_unhashable": "{{ {[1]: 2} }}",
    "error_tojson_undefined": "{{ x | tojson }}",
    "error_tojson_generator": "{{ [1] | map('string') | tojson }}",
    "error_index_method": "{{ 'abc'.index('x') }}",
    "error_split_empty": "{{ 'abc'.split('') }}",
    "error_join_numbers": "{{ ','.join([1]) }}",
    "error_in_number": "{{ 1 in 2 }}",
    "error_in_text": "{{ 1 in 'abc' }}",
    "error_slice_undefined": "{{ x[1:] }}",
    "error_slice_generator": "{{ ([1] | map('abs'))[0:1] }}",
    "error_slice_zero": "{{ [1][::0] }}",
    "error_format_few": "{{ '{} {}'.format(1) }}",
    "error_percent_few": "{{ '%s %s' % (1,) }}",
    "error_escape": "{{ '\\x4' }}",
    "error_chained_tests": "{{ 1 is defined is true }}",
    "error_int_of_undefined": "{{ x | int }}",
    "error_large_power": "{{ 2.0 ** 100000 }}",
}

WITH_DATA = {
    "attribute_or_method": "{{ t.name }}{{ t.items is callable }}{{ t['items'] }}{{ t['get'] }}{{ t.d.a }}{{ t.zz }}[{{ t.items.name }}]{{ t.values is defined }}{{ t['values'] is defined }}",
    "tojson": "{{ t | tojson }}\n{{ t | tojson(indent=4) }}",
    "data_repr": "{{ t.d }}{{ words }}",
    "sorting": "{{ words | sort }}{{ words | sort(case_sensitive=true) }}{{ words | unique | list }}{{ people | sort(attribute='age') | map(attribute='name') | list }}"
               "{{ people | sort(attribute='age,name', reverse=true) | map(attribute='name') | join(',') }}{{ words | min }}{{ words | max }}{{ people | min(attribute='age') }}",
    "dictsort": "{{ {'b': 1, 'A': 3, 'c': 2} | dictsort }}{{ {'b': 1, 'A': 3} | dictsort(true) }}{{ {'b': 1, 'A': 3} | dictsort(by='value', reverse=true) }}{% for k, v in t.d | dictsort %}{{ k }}{% endfor %}",
    "selecting": "{{ people | selectattr('on') | map(attribute='name') | list }}{{ people | rejectattr('on') | list | length }}{{ people | selectattr('age', 'equalto', 30) | list | length }}"
                 "{{ people | selectattr('in', 'defined') | map(attribute='in.x') | list }}{{ people | map(attribute='in.x', default='?') | list }}{{ words | select('in', ['fig']) | list }}"
                 "{{ words | reject('equalto', 'fig') | join(' ') }}{{ words | map('upper') | join }}{{ words | map('replace', 'p', 'q') | list }}{{ [0, 1, 2] | select | list }}{{ people | sum(attribute='age') }}"
                 "{{ people | selectattr('age', '>', 26) | map(attribute='name') | first }}{{ people | join('/', attribute='name') }}",
    "messages": "{% for m in people %}{{ '<|' + m.name + '|>' }}{% if not loop.last %}{{ loop.nextitem.name }}{% endif %}{{ m['age'] }}{% endfor %}",
}


def all_cases():
    for name, template in {**PLAIN, **REFUSED}.items():
        yield name, template, {"given": 1}
    for name, template in WITH_DATA.items():
        yield name, template, {"t": TOOL, "words": WORDS, "people": PEOPLE}


CASES = list(all_cases())
