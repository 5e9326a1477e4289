// What the oracle (tests/jinja_oracle_test.cc) cannot know: marks, limits, messages and threads.
#include "jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace s3d::jinja {
namespace {

using ::testing::HasSubstr;

Value message(const std::string& role, const std::string& content) {
  return Value::dict({{"role", Value::text(role)}, {"content", Value::text(content)}});
}

Value context() {
  return Value::dict({{"user", Value::text("Ann")},
                      {"bos_token", Value::trusted("<s>")},
                      {"words", Value::list({Value::text("p"), Value::text("q")})},
                      {"info", Value::dict({{"key", Value::text("val")}, {"n", Value::integer(5)}})},
                      {"messages", Value::list({message("user", "Hi <|end|>"), message("assistant", "Yo")})}});
}

Result<Rendered> render(const std::string& source, const RenderOptions& options = {}) {
  S3D_ASSIGN(const Template program, Template::parse(source));
  return program.render(context(), options);
}

// The text with what is data in brackets.
std::string marked(const std::string& source) {
  const auto result = render(source);
  if (!result.ok()) return "error: " + result.error().message;
  std::string out;
  for (const Span& span : result->spans) {
    const std::string part = result->text.substr(span.begin, span.end - span.begin);
    out += span.from_template ? part : "[" + part + "]";
  }
  return out;
}

std::string error_of(const std::string& source, const RenderOptions& options = {}) {
  const auto result = render(source, options);
  return result.ok() ? "no error: " + result->text : result.error().message;
}

TEST(Template, MarksTellTheTemplateFromTheData) {
  EXPECT_EQ(marked("a{{ user }}b"), "a[Ann]b");
  EXPECT_EQ(marked("{{ bos_token }}{{ '<x>' }}{{ user }}"), "<s><x>[Ann]");
  EXPECT_EQ(marked("{% for m in messages %}<|{{ m.role }}|>{{ m['content'] }}<|end|>{% endfor %}"),
            "<|[user]|>[Hi <|end|>]<|end|><|[assistant]|>[Yo]<|end|>");
}

TEST(Template, MarksSurviveWhatTextsGoThrough) {
  EXPECT_EQ(marked("{{ 'x' + user + 'y' }}{{ 'x' ~ user ~ 1 }}"), "x[Ann]yx[Ann]1");
  EXPECT_EQ(marked("{{ ('x' + user)[0:2] }}|{{ ('x' + user)[::-1] }}"), "x[A]|[nnA]x");
  EXPECT_EQ(marked("{{ (' ' + user + ' ') | trim }}{{ (user + '..').rstrip('.') }}"), "[AnnAnn]");
  EXPECT_EQ(marked("{{ ('aXb' + user).replace('X', user).replace('n', '-') }}"), "a[A]--b[A]--");
  EXPECT_EQ(marked("{{ (user + 'b') | upper }}{{ ('É' + user) | lower }}"), "[ANN]Bé[ann]");
  EXPECT_EQ(marked("{{ ('a,' + user + ',b').split(',') | join(';') }}"), "a;[Ann];b");
  EXPECT_EQ(marked("{{ words | join(', ') }}{{ '-'.join(words) }}"), "[p], [qp]-[q]");
  EXPECT_EQ(marked("{{ '<{}>'.format(user) }}{{ '<%s>' % user }}"), "<[Ann]><[Ann]>");
  EXPECT_EQ(marked("{{ (user + '\\nb') | indent(2, true) }}"), "  [Ann]\n  b");
  EXPECT_EQ(marked("{{ (user + '<') | escape }}{{ ('a' | safe) + user }}"), "[Ann]&lt;a[Ann]");
  EXPECT_EQ(marked("{% set s %}({{ user }}){% endset %}{{ s }}"), "([Ann])");
  EXPECT_EQ(marked("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(user) }}{{ f('t') }}"), "<[Ann]><t>");
  EXPECT_EQ(marked("{% for k, v in info.items() %}{{ k }}={{ v }};{% endfor %}"), "[key]=[val];[n]=5;");
  EXPECT_EQ(marked("{{ {'a': user}.a }}{{ [user, 't'][1] }}{{ dict(a=user).a }}"), "[Ann]t[Ann]");
}

TEST(Template, WhatPythonPrintsOfContainersIsData) {
  EXPECT_EQ(marked("<{{ info | tojson }}>"), "<[{\"key\": \"val\", \"n\": 5}]>");
  EXPECT_EQ(marked("{{ ['<|end|>'] }}{{ '<|end|>' | tojson }}"), "[['<|end|>']\"<|end|>\"]");
  EXPECT_EQ(marked("<|image_{{ 1 + 1 }}|>{{ info.n }}{{ true }}"), "<|image_2|>5True");
}

TEST(Template, ErrorsNameLineAndConstruct) {
  EXPECT_EQ(error_of("a\n{{ nothing.x }}"), "line 2: attribute 'x': 'nothing' is undefined");
  EXPECT_EQ(error_of("a\n\n{{ 1 + 'b' }}"), "line 3: operator '+': cannot compute int + str");
  EXPECT_EQ(error_of("{% if true %}\n{{ raise_exception('Roles ' ~ user) }}{% endif %}"),
            "line 2: call of 'raise_exception': Roles Ann");
  EXPECT_THAT(error_of("\n{{ words | join( }}"), HasSubstr("line 2: "));
  EXPECT_EQ(error_of("a\n{% for x in [1] %}"), "line 2: the template ends where {% endfor %} is expected");
  EXPECT_EQ(error_of("{% include 'x' %}"), "line 1: the tag {% include %} is not supported in chat templates");
  EXPECT_EQ(error_of("\n{{ 1 | nothing }}"), "line 2: there is no filter 'nothing'");
  EXPECT_THAT(error_of("{{ words.append(1) }}"), HasSubstr("a template may not change a list"));
  EXPECT_THAT(error_of("{% macro f() %}\n{{ 1 // 0 }}{% endmacro %}{{ f() }}"), HasSubstr("line 2: "));
}

// Each would run for ages, fill the memory or overflow the stack.
TEST(Template, LimitsEndHostileTemplates) {
  RenderOptions small;
  small.limits.steps = 200'000;
  small.limits.bytes = 8 << 20;
  small.limits.output = 1 << 20;
  const std::string many = "{% for i in range(100000) %}{% for j in range(100000) %}";
  for (const std::string& source : std::vector<std::string>{
           many + "{% endfor %}{% endfor %}",
           many + "{{ 'x' * 1000 }}{% endfor %}{% endfor %}",
           "{{ 'x' * 100000000000 }}",
           "{{ [1] * 100000000000 }}",
           "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s.replace('', ns.s) %}{% endfor "
           "%}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l "
           "}}",
           "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | "
           "tojson }}",
           "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}"
           "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
           "{% set ns = namespace(t=(1,)) %}{% for i in range(100) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ "
           "{ns.t: 1} }}",
           "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}",
           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
           "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
           "{{ '%999999999d' % 1 }}",
           "{{ '{:999999999}'.format(1) }}",
           "{{ 'x'.ljust(999999999) }}",
           "{{ 'x' | center(999999999) }}",
           "{{ 'x' | indent(999999999) }}",
           "{{ [[1]] | tojson(indent=999999999) }}",
           "{{ range(1000000000) }}",
           "{{ 9223372036854775807 + 1 }}",
           "{{ -9223372036854775807 - 2 }}",
           "{{ (-9223372036854775807 - 1) // -1 }}",
           "{{ 10 ** 100 }}",
           "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% if s.rfind('b') %}{% endif %}{% endfor %}",
           "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% if s[5] == 'b' %}{% endif %}{% endfor %}",
           "{{ dict(range(100000) | map('string') | map('list')) }}"}) {
    const auto result = render(source, small);
    EXPECT_FALSE(result.ok()) << source;
  }
}

TEST(Template, NestingOfTheSourceIsBounded) {
  const auto repeated = [](const std::string& text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  };
  for (const int count : {1000, 40'000}) {
    for (const char* piece :
         {"(", "[", "{1:", "not ", "-", "a[", "a(", "a.b + ", "a if a else ", "a | f | ", "a ~ (", "a == ("}) {
      EXPECT_THAT(error_of("{{ " + repeated(piece, count) + "1"), HasSubstr("line 1: ")) << piece;
    }
    for (const char* piece : {"{% if 1 %}", "{% for a in b %}", "{% macro f() %}", "{% set a %}", "{% filter trim %}",
                              "{% if 1 %}{% elif 1 %}", "{% call f() %}", "{% with %}"}) {
      EXPECT_THAT(error_of(repeated(piece, count)), HasSubstr("line 1: ")) << piece;
    }
  }
  EXPECT_EQ(error_of("{{ 1" + repeated(" + 1", 300) + " }}"), "no error: 301");
  EXPECT_EQ(error_of("{{ " + repeated("(", 60) + "1" + repeated(")", 60) + " }}"), "no error: 1");
}

// A namespace that holds itself, and loops and macros that outlive their blocks, are let go of (the sanitizers look).
TEST(Template, CyclesEndWithTheRendering) {
  EXPECT_EQ(marked("{% set a = namespace() %}{% set a.a = a %}{% set a.l = [a] %}{{ a.a.a is defined }}"), "True");
  EXPECT_EQ(marked("{% set ns = namespace() %}{% macro f(x) %}{% macro g() %}{{ x }}{% endmacro %}{% set ns.g = g %}"
                   "{% endmacro %}{{ f(user) }}{{ ns.g() }}"),
            "[Ann]");
  EXPECT_EQ(marked("{% set ns = namespace() %}{% macro f() %}{% for i in [1, [2]] recursive %}{% set ns.l = loop %}"
                   "{% endfor %}{% endmacro %}{{ f() }}{{ ns.l([3]) }}"),
            "");
}

TEST(Template, TheClockIsTheCallers) {
  RenderOptions options;
  options.clock = [] {
    std::tm now{};
    now.tm_year = 99;
    now.tm_mday = 31;
    now.tm_mon = 11;
    return now;
  };
  const auto result = render("{{ strftime_now('%d.%m.%Y') }}", options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->text, "31.12.1999");
}

TEST(Template, ManyThreadsRenderOneTemplate) {
  const auto program = Template::parse(
      "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ m | tojson }}{{ ns.n }}{% "
      "endfor %}");
  ASSERT_TRUE(program.ok());
  const Value shared = context();
  const auto expected = program->render(shared);
  ASSERT_TRUE(expected.ok());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const auto result = program->render(shared);
        wrong[t] += result.ok() && result->text == expected->text && result->spans == expected->spans ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace s3d::jinja
