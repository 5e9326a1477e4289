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
  std::string path;  // "generate", "bench spec"; "" for the program itself
  std::string help;
  std::vector<Flag> flags;
  std::vector<std::string> commands;  // that may follow

  std::string name() const { return path.substr(path.rfind(' ') + 1); }
  bool nested() const { return path.find(' ') != std::string::npos; }
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

// The program and all that is below it. The program's own flags are open in every command.
void read_tree(const CLI::App& app, const std::string& path, const CLI::App& program, std::vector<Command>& commands) {
  Command command{.path = path, .help = app.get_description(), .flags = {}, .commands = {}};
  for (const CLI::Option* option : app.get_options()) command.flags.push_back(read_option(*option));
  if (&app != &program) {
    for (const CLI::Option* option : program.get_options()) command.flags.push_back(read_option(*option));
  }
  const auto below = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : below) command.commands.push_back(sub->get_name());
  commands.push_back(std::move(command));
  for (const CLI::App* sub : below)
    read_tree(*sub, path + (path.empty() ? "" : " ") + sub->get_name(), program, commands);
}

std::string bash_reply(const std::vector<std::string>& words) {
  return fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$word\"))", fmt::join(words, " "));
}

// For a flag's value.
std::string bash_values(const Flag& flag) {
  if (!flag.choices.empty()) return bash_reply(flag.choices);
  return flag.takes_file ? "compopt -o default; COMPREPLY=()" : "COMPREPLY=()";
}

std::string bash_case(const Command& c) {
  std::string cases;
  std::vector<std::string> words, values = c.commands;
  for (const Flag& f : c.flags) {
    words.insert(words.end(), f.names.begin(), f.names.end());
    if (f.names.empty()) values.insert(values.end(), f.choices.begin(), f.choices.end());
    if (!f.takes_value) continue;
    for (const std::string& n : f.names)
      cases += fmt::format("    '{}:{}') {}; return ;;\n", c.path, n, bash_values(f));
  }
  const std::string other = values.empty() ? "compopt -o default" : bash_reply(values);
  return cases +
         fmt::format("    '{}:'*) [[ $word == -* ]] && {} || {}; return ;;\n", c.path, bash_reply(words), other);
}

std::string bash_script(const std::vector<Command>& commands) {
  std::vector<std::string> steps;  // "COMMAND/WORD" where the word leads on to another command
  std::string cases;
  for (const Command& c : commands) {
    for (const std::string& next : c.commands) steps.push_back(fmt::format("'{}/{}'", c.path, next));
    cases += bash_case(c);
  }
  return fmt::format(R"(# bash completion for s3d; made by: s3d completion bash
_s3d() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= each
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $command/$each in
      {}) command="${{command:+$command }}$each" ;;
    esac
  done
  COMPREPLY=()
  case $command:$before in
{}  esac
}}
complete -F _s3d s3d
)",
                     fmt::join(steps, "|"), cases);
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
  std::string described, cases, deeper;
  for (const Command& c : commands) {
    if (c.path.empty()) continue;
    if (c.nested()) {
      deeper += fmt::format(
          "  [[ \"$command $words[2]\" == {} ]] && command+=\" $words[2]\" && shift words && (( CURRENT-- ))\n",
          single_quoted(c.path));
    } else {
      described += fmt::format("    {}\n", single_quoted(c.path + ":" + c.help));
    }
    cases += fmt::format("    {}) _arguments", single_quoted(c.path));
    for (const Flag& f : c.flags) cases += " \\\n      " + zsh_spec(f);
    if (!c.commands.empty()) cases += fmt::format(" \\\n      '*:command:({})'", fmt::join(c.commands, " "));
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
{}  case $command in
{}  esac
}}
_s3d "$@"
)",
                     described, deeper, cases);
}

std::string fish_line(const Command& c, const Flag& f) {
  std::string line = fmt::format("complete -c s3d -n '__fish_seen_subcommand_from {}'", c.name());
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
    if (c.path.empty()) continue;
    const std::string above = c.path.substr(0, c.path.rfind(' '));
    const std::string when =
        c.nested() ? fmt::format("'__fish_seen_subcommand_from {}'", above) : "__fish_use_subcommand";
    out += fmt::format("complete -c s3d -f -n {} -a {} -d '{}'\n", when, c.name(), c.help);
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
  const auto app = make_app(program);
  std::vector<Command> commands;
  read_tree(*app, "", *app, commands);
  if (shell == "bash") return bash_script(commands);
  return shell == "zsh" ? zsh_script(commands) : fish_script(commands);
}

}  // namespace s3d::cli
