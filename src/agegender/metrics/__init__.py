"""Metrics: gender accuracy, age errors, per-group tables, age intervals."""

from __future__ import annotations

from agegender.age_distribution import age_interval, expected_age
from agegender.metrics.groups import decade_scores, group_scores
from agegender.metrics.scores import LARGEST_CUM, ScoreKeeper, Scores

__all__ = ["LARGEST_CUM", "ScoreKeeper", "Scores", "age_interval", "decade_scores", "expected_age", "group_scores"]
