"""Completion for shells, from the table of commands.

The wheel brings the scripts and the manual pages as data files, made when it is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sidecar.cli import manual, table
from sidecar.cli.arguments import Wrong
from sidecar.cli.invocation import Invocation, say

#: The names of the one program.
PROGRAMS = ("micro", "microsidecar")

_BASH = """\
# bash completion for micro and microsidecar; see `micro completion --help`
_micro() {
    local current=${COMP_WORDS[COMP_CWORD]} words="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in -*) ;; *) words="$words${words:+ }$word" ;; esac
    done
    case $current in
        -*)
            case $words in
%(flags)s
                *) COMPREPLY=($(compgen -W "%(common)s" -- "$current")) ;;
            esac ;;
        *)
            case $words in
                "") COMPREPLY=($(compgen -W "%(first)s" -- "$current")) ;;
%(second)s
            esac ;;
    esac
    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}
complete -o default -F _micro %(programs)s
"""

_ZSH = """\
#compdef micro microsidecar
# zsh completion for micro and microsidecar; see `micro completion --help`
_micro() {
    local -a commands flags
    local words_so_far="${(j: :)${words[2,CURRENT-1]:#-*}}"
    if [[ $words[CURRENT] == -* ]]; then
        flags=(%(common)s)
        case $words_so_far in
%(flags)s
        esac
        _describe -o flag flags
        return
    fi
    case $words_so_far in
        "") commands=(%(first)s); _describe command commands ;;
%(second)s
        *) _files ;;
    esac
}
if [ "$funcstack[1]" = _micro ]; then _micro "$@"; else compdef _micro micro microsidecar; fi
"""


def completion(invocation: Invocation) -> int:
    """``micro completion``: prints a script for the shell's own completion."""
    made = {"bash": bash, "zsh": zsh, "fish": fish}
    if len(invocation.words) != 1 or invocation.words[0] not in made:
        raise Wrong("which shell? write: micro completion bash, zsh or fish")
    return say(made[invocation.words[0]]().rstrip("\n"))


def bash(programs: Sequence[str] = PROGRAMS) -> str:
    """:param programs: for which it is. :returns: the script for bash."""
    return _BASH % {
        "programs": " ".join(programs),
        "common": " ".join(_flag(option) for option in table.COMMON),
        "first": " ".join(_firsts()),
        "flags": "\n".join(_case(f'"{one.words}"*', _flags(one)) for one in table.COMMANDS),
        "second": "\n".join(_case(first, seconds) for first, seconds in _seconds().items()),
    }


def zsh() -> str:
    """:returns: the script for zsh."""
    summaries = {command.words: command.summary for command in table.COMMANDS}
    firsts = [f"{_quoted(f'{first}:{summaries.get(first, _summary(first))}')}" for first in _firsts()]
    return _ZSH % {
        "common": _zsh_flags(table.COMMON),
        "first": " ".join(firsts),
        "flags": "\n".join(
            f'            "{command.words}"*) flags+=({_zsh_flags(command.options)}) ;;'
            for command in table.COMMANDS
            if command.options
        ),
        "second": "\n".join(
            f"        {first}) commands=({' '.join(seconds)}); _describe command commands ;;"
            for first, seconds in _seconds().items()
        ),
    }


def fish(programs: Sequence[str] = PROGRAMS) -> str:
    """:param programs: for which it is. :returns: the script for fish."""
    lines = ["# fish completion for micro and microsidecar; see `micro completion --help`"]
    for program in programs:
        for first in _firsts():
            summary = next((one.summary for one in table.COMMANDS if one.words == first), _summary(first))
            lines.append(f"complete -c {program} -n __fish_use_subcommand -a {first} -d {_quoted(summary)}")
        for first, seconds in _seconds().items():
            lines.append(
                f"complete -c {program} -f -n '__fish_seen_subcommand_from {first}' -a {_quoted(' '.join(seconds))}"
            )
        for command in table.COMMANDS:
            for option in command.options:
                where = f"-n '__fish_seen_subcommand_from {command.words.split()[-1]}'"
                lines.append(f"complete -c {program} {where} {_fish_flag(option)}")
        lines += [f"complete -c {program} {_fish_flag(option)}" for option in table.COMMON]
    return "\n".join(lines)


def write_share(directory: Path) -> list[Path]:
    """Write what belongs below ``share/`` of an installation: the pages, and completion where shells look for it.

    :returns: the files, relative to ``directory``."""
    written = {
        "man/man1/micro.1": manual.micro(),
        "man/man8/microsidecar.8": manual.microsidecar(),
        "zsh/site-functions/_micro": zsh(),
    }
    for program in PROGRAMS:
        written[f"bash-completion/completions/{program}"] = bash((program,))
        written[f"fish/vendor_completions.d/{program}.fish"] = fish((program,))
    for name, text in written.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    return [Path(name) for name in written]


def _case(pattern: str, words: list[str]) -> str:
    return f'                {pattern}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$current")) ;;'


def _zsh_flags(options: tuple[table.Option, ...]) -> str:
    return " ".join(_quoted(f"{_flag(option)}:{option.help}") for option in options)


def _fish_flag(option: table.Option) -> str:
    parts = [f"-l {option.name}", f"-d {_quoted(option.help)}"]
    if option.short:
        parts.insert(0, f"-s {option.short}")
    if option.choices:
        parts.append(f"-x -a {_quoted(' '.join(option.choices))}")
    elif option.metavar:
        parts.append("-r")
    return " ".join(parts)


def _firsts() -> list[str]:
    return list(dict.fromkeys(["sidecar", *(command.words.split()[0] for command in table.COMMANDS)]))


def _seconds() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for command in table.COMMANDS:
        first, _, second = command.words.partition(" ")
        if second:
            found.setdefault(first, []).append(second)
    return found


def _summary(first: str) -> str:
    if first == "sidecar":
        return "run the sidecar"
    return "; ".join(command.summary for command in table.COMMANDS if command.words.startswith(f"{first} "))


def _flags(command: table.Command) -> list[str]:
    return [_flag(option) for option in (*command.options, *table.COMMON)]


def _flag(option: table.Option) -> str:
    return f"--{option.name}" + ("=" if option.metavar else "")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
