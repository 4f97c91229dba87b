"""`--help` by section, in the order of the configuration's fields.

absl itself lists all flags of a program in one alphabet. `--helpfull` stays absl's own: it lists
the flags of absl and of imported libraries too.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from absl import app, flags

from tfseg.cli import definitions
from tfseg.config import serialization

_CLOSING = (
    "--flagfile=FILE reads flags from a file, see flags/README.md. "
    "--helpfull also lists the flags of absl and of imported libraries."
)


class SectionedHelpFlag(flags.BooleanFlag):
    """A flag that prints the help by section and ends the program with exit code 0."""

    def __init__(self, name: str, short_name: str | None = None):
        super().__init__(name, False, "show this help", short_name, allow_override=True)

    def parse(self, argument: Any) -> None:
        super().parse(argument)
        if self.value:
            summary = str(sys.modules["__main__"].__doc__).rstrip()
            _print(f"{summary}\n\n{render(flags.FLAGS)}")
            sys.exit(0)


def define_help_flags() -> None:
    """Replaces absl's `--help` and `--helpshort`."""
    app.define_help_flags()
    for flag in (SectionedHelpFlag("help", "?"), SectionedHelpFlag("helpshort")):
        flags.DEFINE_flag(flag, module_name=app.__name__)


def render(flag_values: flags.FlagValues) -> str:
    """Returns the help: for each section its heading and its flags."""
    blocks = []
    for heading, members in flag_values.flags_by_module_dict().items():
        if heading in definitions.HEADINGS.values():
            blocks.append("\n".join([f"{heading}:", *map(_render_flag, members)]))
    return "\n\n".join([*blocks, flags.text_wrap(_CLOSING)])


def _print(text: str) -> None:
    """Prints the text, to a pager that may close the pipe before the end, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes standard output again when it ends, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _render_flag(flag: flags.Flag) -> str:
    text = f"--{'[no]' if flag.boolean else ''}{flag.name}: {flag.help}"
    if flag.default not in (None, ()):
        text += f"; default: {serialization.format_value(flag.default)}"
    return flags.text_wrap(text, indent=" " * 6, firstline_indent=" " * 2)
