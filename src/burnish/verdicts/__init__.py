"""Verdicts one can believe: paired tests, promotion, corrected estimates, power, diagnosis."""

from burnish.verdicts.beliefs import Beliefs, believed
from burnish.verdicts.curse import Corrected, agreed, corrected
from burnish.verdicts.diagnosis import Cause, Diagnosis, Symptoms, why_no_gain
from burnish.verdicts.means import CONFIDENCE, Interval, mean_interval, student_quantile
from burnish.verdicts.paired import (
    Comparison,
    Method,
    SearchRows,
    Verdict,
    compare,
)
from burnish.verdicts.power import PLAUSIBLE_GAIN, detectable_gain, rows_for, size_warning
from burnish.verdicts.rule import Rule, rule_problems
from burnish.verdicts.sentences import UNSCORED, UNTESTED, chance, sentence

__all__ = [
    "CONFIDENCE",
    "PLAUSIBLE_GAIN",
    "UNSCORED",
    "UNTESTED",
    "Beliefs",
    "Cause",
    "Comparison",
    "Corrected",
    "Diagnosis",
    "Interval",
    "Method",
    "Rule",
    "SearchRows",
    "Symptoms",
    "Verdict",
    "agreed",
    "believed",
    "chance",
    "compare",
    "corrected",
    "detectable_gain",
    "mean_interval",
    "rows_for",
    "rule_problems",
    "sentence",
    "size_warning",
    "student_quantile",
    "why_no_gain",
]
