"""Answers to questions with choices here and by lm-evaluation-harness, which asks transformers.

python bench/questions.py CHECKPOINT_DIR -f QUESTIONS.jsonl

Needs the package `lm-eval`. The checkpoint is converted to F32; lm-eval reads it in float32, as a task of
multiple choice. Lines of the file have question, choices (a list) and answer (a number), which both take.
Prints the largest difference of a choice's log-likelihood, and acc and acc_norm of both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from glmq_convert.conversion import convert

import glmq
from glmq.quality.multiple_choice import answer_questions
from glmq.quality.questions import Question, read_questions

Answers = tuple[float, float, list[tuple[float, ...]]]
"""acc, acc_norm, and the log-likelihoods of each question's choices."""


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-f", dest="file", type=Path, required=True)
    chosen = parser.parse_args()
    questions = read_questions(chosen.file.read_text(encoding="utf-8"), chosen.file.name)
    with tempfile.TemporaryDirectory() as folder:
        ours = here(chosen.checkpoint, questions, Path(folder))
        theirs = by_lm_eval(chosen.checkpoint, questions, Path(folder))
    differences = [
        abs(one - other)
        for mine, other_ones in zip(ours[2], theirs[2], strict=True)
        for one, other in zip(mine, other_ones, strict=True)
    ]
    print(f"{len(questions)} questions, {len(differences)} choices")
    print(f"largest difference of a log-likelihood: {max(differences):.2g}")
    for name, one, other in (("acc", ours[0], theirs[0]), ("acc_norm", ours[1], theirs[1])):
        print(f"{name}: glmq {one:.4f}, lm-eval {other:.4f}")


def here(checkpoint: Path, questions: list[Question], folder: Path) -> Answers:
    """glmq's, of an F32 file with an F32 cache."""
    path = convert(checkpoint, folder / "model.gguf", "f32")
    with glmq.load(path, cache_type="F32", activations="f32") as model:
        found, scored = answer_questions(model, questions)
    return found.acc.value, found.acc_norm.value, [each.log_likelihoods for each in scored]


def by_lm_eval(checkpoint: Path, questions: list[Question], folder: Path) -> Answers:
    """The harness's, by its own task of multiple choice."""
    from lm_eval import simple_evaluate
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    file = folder / "questions.jsonl"
    fields = [
        {"question": each.text, "choices": each.choices, "answer": each.answer, "line": each.line}
        for each in questions
    ]
    file.write_text("\n".join(map(json.dumps, fields)))
    task = ConfigurableTask(
        config={
            "task": "questions",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(file)}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }
    )
    model = HFLM(str(checkpoint), dtype="float32", device="cpu", batch_size=8)
    found = simple_evaluate(model=model, tasks=[task], log_samples=True, bootstrap_iters=0)
    samples = sorted(found["samples"]["questions"], key=lambda sample: sample["doc"]["line"])
    results = found["results"]["questions"]
    of_choices = [tuple(float(log_p) for log_p, _ in sample["filtered_resps"]) for sample in samples]
    return results["acc,none"], results["acc_norm,none"], of_choices


if __name__ == "__main__":
    main()
