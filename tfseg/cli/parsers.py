"""What the text of a flag means: numbers, lists of numbers with commas, and `none`."""

from __future__ import annotations

import typing
from typing import Any

from absl import flags

from tfseg.config import serialization


class TupleParser(flags.ArgumentParser):
    """Parses `288,384` into a tuple.

    Args:
        item_type: int or float.
        repeat: Whether one number stands for two equal ones, as 512 for 512,512.
    """

    def __init__(self, item_type: type, *, repeat: bool):
        super().__init__()
        self._item_type = item_type
        self._repeat = repeat
        self.syntactic_help = f"{item_type.__name__} values separated by commas"

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, tuple):  # the default
            return argument
        try:
            words = (word.strip() for word in argument.split(","))
            items = tuple(self._item_type(word) for word in words if word)
        except ValueError:
            raise ValueError(f"expected {self.syntactic_help}") from None
        return items * 2 if self._repeat and len(items) == 1 else items

    def flag_type(self) -> str:
        return f"comma-separated {self._item_type.__name__}s"


class TupleSerializer(flags.ArgumentSerializer):
    """Writes a tuple as `TupleParser` reads it."""

    def serialize(self, value: tuple) -> str:
        return serialization.format_value(value)


class OptionalParser(flags.ArgumentParser):
    """Also accepts the word `none`, for a field that may be None but has another default."""

    def __init__(self, parser: flags.ArgumentParser):
        super().__init__()
        self._parser = parser
        self.syntactic_help = f"{parser.syntactic_help} or none"

    def parse(self, argument: Any) -> Any:
        is_none = argument is None or str(argument).lower() == "none"
        return _NONE if is_none else self._parser.parse(argument)

    def flag_type(self) -> str:
        return f"{self._parser.flag_type()} or none"


class _None:
    """Stands for the word `none`, because absl takes None for an omitted flag."""

    def __str__(self) -> str:
        return "none"


_NONE = _None()


def value_of(flag: flags.Flag) -> Any:
    """Returns the value of a parsed flag, None for the word `none`."""
    return None if flag.value is _NONE else flag.value


def parser_for(
    value_type: Any, *, accepts_none: bool
) -> tuple[flags.ArgumentParser, flags.ArgumentSerializer]:
    """Returns the parser and the serializer for a field's type.

    Args:
        value_type: int, float, str, or a tuple of ints or floats. One number stands for both of
            `tuple[int, int]`.
        accepts_none: Whether the flag also accepts `none`.
    """
    parser: flags.ArgumentParser
    serializer = flags.ArgumentSerializer()
    if typing.get_origin(value_type) is tuple:
        items = typing.get_args(value_type)
        parser = TupleParser(items[0], repeat=items == (int, int))
        serializer = TupleSerializer()
    else:
        parsers = {int: flags.IntegerParser, float: flags.FloatParser, str: flags.ArgumentParser}
        parser = parsers[value_type]()
    return (OptionalParser(parser) if accepts_none else parser), serializer
