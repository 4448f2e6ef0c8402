"""The sentence, run: every stage in order, cached by the hash of its inputs, resumable after any kill."""

from emosae.pipeline.grading import grade_answers
from emosae.pipeline.judging import judge_answers
from emosae.pipeline.runner import STAGES, join_runs, run, run_until, write_part

__all__ = ["STAGES", "grade_answers", "join_runs", "judge_answers", "run", "run_until", "write_part"]
