"""The curves of a training."""

from __future__ import annotations

from pathlib import Path

from agegender.plots.curves import draw_curves, save_curves

NAN = float("nan")
HISTORY = [
    {"epoch": 1, "train_loss": 3, "train_MAE": 9, "val_MAE": 8, "train_CUM_5": 0.3, "val_CUM_5": 0.2, "train_acc": NAN},
    {"epoch": 2, "train_loss": 2, "train_MAE": 7, "val_MAE": 6, "train_CUM_5": 0.4, "val_CUM_5": 0.5, "train_acc": NAN},
    {"epoch": 3, "train_loss": 1, "train_MAE": 6, "val_MAE": 7, "train_CUM_5": 0.5, "val_CUM_5": 0.5, "train_acc": NAN},
]


def test_panels_lines_and_the_best_epoch(tmp_path: Path) -> None:
    figure = draw_curves(HISTORY)
    loss, mae, cum, acc = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["loss", "MAE", "CUM_5", "gender accuracy"]
    assert list(loss.lines[0].get_ydata()) == [3, 2, 1]
    assert [text.get_text() for text in mae.get_legend().get_texts()] == ["train", "val, best 6 after epoch 2"]
    # Of two equally good epochs the first.
    assert cum.get_legend().get_texts()[1].get_text() == "val, best 0.5 after epoch 2"
    assert acc.texts[0].get_text() == "no labels"
    save_curves(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
