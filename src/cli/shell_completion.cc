#include "cli/shell_completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/program.h"

namespace s3d::cli {
namespace {

// One option as a shell sees it.
struct Flag {
  std::vector<std::string> names;    // with dashes; empty for a positional
  std::vector<std::string> choices;  // of the value
  std::string help;
  bool takes_value = false;
  bool takes_file = false;
};

struct Command {
  std::string name;
  std::string help;
  std::vector<Flag> flags;
};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == at) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

Flag read_option(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  flag.help = option.get_description();
  flag.takes_value = option.get_items_expected_max() > 0;
  const std::string type = option.get_type_name();
  flag.takes_file = type == "FILE" || type == "MODEL" || type == "DIR";
  if (type.find('|') != std::string::npos) flag.choices = split(type, '|');
  return flag;
}

std::vector<Command> read_tree(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    Command command{.name = sub->get_name(), .help = sub->get_description(), .flags = {}};
    for (const CLI::App* owner : {sub, &app}) {
      for (const CLI::Option* option : owner->get_options()) command.flags.push_back(read_option(*option));
    }
    commands.push_back(std::move(command));
  }
  return commands;
}

std::string names_of(const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& c : commands) names.push_back(c.name);
  return fmt::format("{}", fmt::join(names, " "));
}

std::string bash_script(const std::vector<Command>& commands) {
  std::string cases;
  for (const Command& c : commands) {
    std::vector<std::string> words;
    for (const Flag& f : c.flags) {
      words.insert(words.end(), f.names.begin(), f.names.end());
      if (f.names.empty() || !f.takes_value) continue;
      const std::string reply =
          !f.choices.empty() ? fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$word\"))", fmt::join(f.choices, " "))
          : f.takes_file     ? "compopt -o default; COMPREPLY=()"
                             : "COMPREPLY=()";
      for (const std::string& n : f.names) cases += fmt::format("    {}:{}) {}; return ;;\n", c.name, n, reply);
    }
    cases += fmt::format(
        "    {}:*) [[ $word == -* ]] && COMPREPLY=($(compgen -W '{}' -- \"$word\")) || "
        "compopt -o default; return ;;\n",
        c.name, fmt::join(words, " "));
  }
  return fmt::format(R"(# bash completion for s3d; made by: s3d completion bash
_s3d() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  COMPREPLY=()
  case ${{COMP_WORDS[1]}}:$before in
{}  esac
  COMPREPLY=($(compgen -W '{} --help --version' -- "$word"))
}}
complete -F _s3d s3d
)",
                     cases, names_of(commands));
}

std::string single_quoted(std::string text) {
  for (size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) text.replace(at, 1, "'\\''");
  return "'" + text + "'";
}

std::string zsh_spec(const Flag& f) {
  std::string help = f.help;
  for (size_t at = 0; (at = help.find_first_of("[]:", at)) != std::string::npos; at += 2) help.insert(at, "\\");
  const std::string value = !f.takes_value       ? ""
                            : !f.choices.empty() ? fmt::format(":value:({})", fmt::join(f.choices, " "))
                            : f.takes_file       ? ":file:_files"
                                                 : ":value: ";
  if (f.names.empty()) return single_quoted("*" + (f.takes_file ? value : ":value: "));
  std::string specs;
  for (const std::string& n : f.names) specs += single_quoted(fmt::format("*{}[{}]{}", n, help, value)) + " ";
  return specs;
}

std::string zsh_script(const std::vector<Command>& commands) {
  std::string described;
  std::string cases;
  for (const Command& c : commands) {
    described += fmt::format("    {}\n", single_quoted(c.name + ":" + c.help));
    cases += fmt::format("    {}) _arguments", c.name);
    for (const Flag& f : c.flags) cases += " \\\n      " + zsh_spec(f);
    cases += " ;;\n";
  }
  return fmt::format(R"(#compdef s3d
# zsh completion for s3d; made by: s3d completion zsh
_s3d() {{
  local -a commands=(
{}  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{}  esac
}}
_s3d "$@"
)",
                     described, cases);
}

std::string fish_line(const Command& c, const Flag& f) {
  std::string line = fmt::format("complete -c s3d -n '__fish_seen_subcommand_from {}'", c.name);
  for (const std::string& n : f.names) line += (n.starts_with("--") ? " -l " + n.substr(2) : " -s " + n.substr(1));
  if (f.takes_value) line += f.takes_file ? " -r -F" : " -x";
  if (!f.choices.empty()) line += fmt::format(" -a '{}'", fmt::join(f.choices, " "));
  std::string help = f.help;
  for (size_t at = 0; (at = help.find('\'', at)) != std::string::npos; at += 2) help.insert(at, "\\");
  return line + " -d '" + help + "'\n";
}

std::string fish_script(const std::vector<Command>& commands) {
  std::string out = "# fish completion for s3d; made by: s3d completion fish\n";
  for (const Command& c : commands) {
    out += fmt::format("complete -c s3d -f -n __fish_use_subcommand -a {} -d '{}'\n", c.name, c.help);
    for (const Flag& f : c.flags) {
      if (!f.names.empty()) out += fish_line(c, f);
    }
  }
  return out;
}

}  // namespace

Result<std::string> completion_script(const std::string& shell) {
  if (shell != "bash" && shell != "zsh" && shell != "fish") {
    return Error{fmt::format("no completion for '{}': the shells are bash, zsh and fish", shell)};
  }
  Program program;
  const std::vector<Command> commands = read_tree(*make_app(program));
  if (shell == "bash") return bash_script(commands);
  return shell == "zsh" ? zsh_script(commands) : fish_script(commands);
}

}  // namespace s3d::cli
