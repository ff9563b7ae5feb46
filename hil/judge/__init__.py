"""The one verdict rule: measurement, requirement and plan in, judgements out."""

from __future__ import annotations

from hil.judge.judgement import Judgement, Reason
from hil.judge.rule import judge, judge_bound
from hil.judge.value import judge_value

__all__ = ["Judgement", "Reason", "judge", "judge_bound", "judge_value"]
