"""Names of people as subjects: spelled alike, a person is the same one in several sets."""

from __future__ import annotations


def person(name: str) -> str:
    """Return a name without spaces and punctuation, as AgeDB writes it: ``Robin_Williams`` -> ``RobinWilliams``."""
    return "".join(letter for letter in name if letter.isalnum())
