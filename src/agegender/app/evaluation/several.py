"""Evaluations of more than one model or set: which one the command line asks for, and what can't go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agegender.app.evaluation.sets import run_sets, split_data
from agegender.app.evaluation.sides import Run
from agegender.app.named_files import check_outputs, spare_inputs
from agegender.errors import UsageError

# Runs a model (None: the one that eval takes by itself) on a set.
Score = Callable[[str | None, str], Run]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for; ``refused`` are flags given that want one model and one set."""

    model: str | None
    data: str
    compare: tuple[str, ...] | None
    against: str | None
    by: Sequence[str]
    csv: str | None
    gpu_ids: str | None
    label_order: str | None
    refused: Sequence[str]

    @classmethod
    def names(cls) -> list[str]:
        """Return the fields that eval's own options have too."""
        return [field.name for field in dataclasses.fields(cls) if field.name != "refused"]


def run_several(asked: Asked, scored: Score, *, lang: str) -> int:
    """Compare, or score several sets; ``scored`` runs a model on a set.

    Returns the exit code. Raises UsageError for flags that don't go together.
    """
    sets = split_data(asked.data)
    _check(asked, sets)
    if asked.compare:
        return _compare(asked, scored, lang)
    if asked.against:
        return _against(asked, scored, lang)
    return run_sets(sets, lambda data: scored(asked.model, data), csv=asked.csv, lang=lang)


def _compare(asked: Asked, scored: Score, lang: str) -> int:
    from agegender.app.evaluation.compare import run_compare

    names = asked.compare or ()
    files = [Path(name) for name in names if name.endswith(".csv")]
    for file in files:
        if not file.is_file():
            raise UsageError(f"--compare {file}: there is no such file (eval's --csv writes one)")
    _spare(asked.csv, files)
    return run_compare(names, lambda name: scored(name, asked.data), by=asked.by, csv=asked.csv, lang=lang)


def _against(asked: Asked, scored: Score, lang: str) -> int:
    from agegender.app.evaluation.against import GenderAge, find_genderage, run_against

    path = find_genderage(asked.against or "")
    _spare(asked.csv, [path])
    # Opened first: what is wrong with the file is said before anything is scored.
    net = GenderAge(path, gpu_ids=asked.gpu_ids)
    ours = scored(asked.model, asked.data)
    return run_against(
        net, ours, data=Path(asked.data), label_order=asked.label_order, by=asked.by, csv=asked.csv, lang=lang
    )


def _check(asked: Asked, sets: Sequence[str]) -> None:
    """Refuse what can't work before anything is computed."""
    what = "--compare" if asked.compare else "--against" if asked.against else "several sets"
    if asked.compare and asked.against:
        raise UsageError("--compare and --against: which one is it to be?")
    if asked.compare and asked.model is not None:
        raise UsageError(f"--model {asked.model} and --compare: both models stand behind --compare")
    if not sets:
        raise UsageError(f"--data {asked.data!r} names no set")
    if len(sets) > 1 and (asked.compare or asked.against):
        raise UsageError(f"{what} takes one set; --data names {len(sets)}")
    if asked.refused:
        raise UsageError(f"{', '.join(asked.refused)} wants one model and one set, and doesn't go with {what}")
    if asked.csv:
        check_outputs({"--csv": asked.csv})


def _spare(csv: str | None, inputs: Sequence[Path]) -> None:
    if csv:
        spare_inputs({"--csv": csv}, inputs, role="which is compared")
