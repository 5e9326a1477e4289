// Looks into the text of a Jinja template without running it.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace s3d {

// The fixed texts of a template in order: its plain text, and the string literals inside {{ }} and {% %} with their
// escapes resolved. Comments are left out. A template that breaks off gives what there is.
std::vector<std::string> jinja_texts(std::string_view jinja);

// True if `parts` follow each other somewhere in the template, with any blanks between them (and none inside them).
// A single quote in a part stands for either kind of quote.
bool jinja_has_sequence(std::string_view jinja, std::initializer_list<std::string_view> parts);

// The string that a template assigns to a variable, `{% set NAME = "…" %}`; empty if it does not.
std::string jinja_assigned(std::string_view jinja, std::string_view variable);

}  // namespace s3d
