"""Choices with commas in them are named in words: ``{gender,age,age,gender}`` tells nobody what they are."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from agegender.app.cli import COMMANDS, command_parser
from tools import adjust, calibrate, convert, exchange, rec, robustness

TOOLS = (adjust, calibrate, convert, exchange, rec, robustness)


def flags(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the flags of a parser and of its subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from flags(command)
        else:
            yield action


@pytest.mark.parametrize(
    "parser",
    [
        *(pytest.param(command_parser(name, prog=name), id=name) for name in COMMANDS),
        *(pytest.param(tool._parser(), id=tool.__name__) for tool in TOOLS),
    ],
)
def test_orders_are_spelled_out(parser: argparse.ArgumentParser) -> None:
    for action in flags(parser):
        ambiguous = [choice for choice in action.choices or () if "," in str(choice)]
        if ambiguous:
            assert action.metavar in ("ORDER", "CODING"), action.dest
            assert [choice for choice in ambiguous if choice not in str(action.help)] == [], action.dest


def test_training_and_exchange_have_such_flags() -> None:
    named = {action.dest for action in flags(exchange._parser()) if action.metavar in ("ORDER", "CODING")}
    assert named == {"label_order", "gender_coding"}
    usage = " ".join(command_parser("train", prog="train.py").format_help().split())
    assert "--label_order ORDER" in usage
    assert "order of labels in the records, gender,age or age,gender (default: what train.json says)" in usage
