"""The code in README.md and API.md: its blocks, and the shell commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELL = ("", "sh", "bash", "shell", "console")


@dataclass(frozen=True)
class Block:
    """A block of code. `language`: as its fence says, "" where it says nothing or the block is indented."""

    language: str
    text: str

    @property
    def is_shell(self) -> bool:
        """Whether its lines are commands: what says nothing is, unless it begins like Python."""
        return self.language in SHELL and not re.match(r"(from|import) \w", self.text)


def blocks(page: str) -> list[Block]:
    """Every fenced and every indented block of a page, in order."""
    found: list[Block] = []
    lines = iter(page.splitlines())
    indented: list[str] = []
    for line in lines:
        # A line under an item of a list is indented by less than a block.
        if line.startswith("    ") and not line.lstrip().startswith(("*", "-", "|")):
            indented.append(line[4:])
            continue
        if line.strip() == "" and indented:
            indented.append("")
            continue
        if indented:
            found.append(Block("", "\n".join(indented).strip("\n")))
            indented = []
        if line.startswith("```"):
            inside = []
            for other in lines:
                if other.startswith("```"):
                    break
                inside.append(other)
            found.append(Block(line[3:].strip(), "\n".join(inside)))
    if indented:
        found.append(Block("", "\n".join(indented).strip("\n")))
    return found


def commands(page: str) -> list[str]:
    """Every command of a page on one line, without comments, as a shell would run it; in order."""
    found = []
    for block in blocks(page):
        if not block.is_shell:
            continue
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            command = " ".join(_without_comment(line).split())
            command = command.removeprefix("$ ")
            if command:
                found.append(command)
    return found


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line)


def words(command: str) -> list[str]:
    """The words of a command; pipes, && and redirections are words of their own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def calls(command: str) -> list[list[str]]:
    """The calls of hirescam in a command line, without the program's name."""
    found: list[list[str]] = []
    current: list[str] | None = None
    for word in words(command):
        if word in ("|", "&&", "||", ";", ">", ">>", "<", "&"):
            current = None
        elif current is not None:
            current.append(word)
        elif word.rpartition("/")[2] == "hirescam":
            current = []
            found.append(current)
    return found
