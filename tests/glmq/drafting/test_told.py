"""What of drafts is told: usage and timings in other programs' forms, figures, lines for people."""

from __future__ import annotations

import pytest

import glmq
from glmq.answer_costs import Timings, Usage
from glmq.benchmark import Plan, run
from glmq.cli.stats import stats_line
from glmq.drafting.statistics import DraftStatistics, DraftTotals
from glmq.server.answer_events import Finished
from glmq.server.metrics import Metrics
from glmq.server.openai.usage import timings_json, total_usage, usage_json

from .known_answers import FlatCosts

DRAFTED = Timings(
    n_prompt=4, n_generated=20, decode_seconds=2.0, n_drafted=10, n_accepted=7, saved_seconds=1.0
)
PLAIN = Timings(n_prompt=4, n_generated=20, decode_seconds=2.0)


def test_usage_counts_guesses_that_came_true_and_those_that_did_not():
    finished = [Finished(i, "stop", Usage.of(DRAFTED), DRAFTED) for i in range(2)]
    details = usage_json(total_usage(finished))["completion_tokens_details"]
    assert (details["accepted_prediction_tokens"], details["rejected_prediction_tokens"]) == (14, 6)


def test_timings_name_drafts_as_llama_server_does_where_there_are_any():
    assert timings_json(DRAFTED)["draft_n"] == 10
    assert timings_json(DRAFTED)["draft_n_accepted"] == 7
    assert "draft_n" not in timings_json(PLAIN)


def test_figures_of_a_server():
    metrics = Metrics()
    for timings in (DRAFTED, PLAIN):
        metrics.count(Finished(0, "stop", Usage.of(timings), timings))
    assert (metrics.n_drafted, metrics.n_accepted, metrics.saved_seconds) == (10, 7, 1.0)


def test_answers_add_up():
    both = DRAFTED + PLAIN
    assert (both.n_drafted, both.n_accepted) == (10, 7)
    assert (DRAFTED.acceptance, DRAFTED.draft_gain, both.draft_gain) == pytest.approx((0.7, 1.5, 1.25))


def test_lines_for_people():
    totals, counted = DraftTotals(), DraftStatistics()
    assert "No tokens were guessed" in totals.line()
    counted.check("lookup", 4, run_seconds=1.0, more_seconds=1.0)
    counted.accept("lookup")
    counted.save_run()
    totals.add(counted, counted.added_to(PLAIN))
    assert (
        totals.line() == "Guessed tokens that came true: 1 of 4 by lookup; answers came about 1.00x as fast."
    )


def test_the_line_below_an_answer(small):
    assert "7 of 10 guessed tokens came true, about 1.50x as fast" in stats_line(small, DRAFTED)
    assert "guessed" not in stats_line(small, PLAIN)


@pytest.mark.slow
def test_a_bench_has_a_row_with_drafts_of_a_wanted_success(small_path):
    rows = []
    plan = Plan(n_prompt=(), n_gen=(40,), repetitions=1, draft="lookup", n_draft=3, acceptance=1.0)
    run(small_path, plan, rows.append, lambda text, fraction: None)
    assert [row.test for row in rows] == ["tg40", "tg40 drafted"]
    assert [row.draft for row in rows] == ["", "lookup"]
    assert rows[1].n_accepted == rows[1].n_drafted


def test_a_trained_layer_guesses_most_of_an_answer_which_stays_the_same():
    """demo-tools, thinking and calling a tool: its own layer guesses, and only that."""
    weather = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    said = []
    for draft in ("off", "mtp"):
        with glmq.load("demo-tools", n_ctx=2048, draft=draft) as model:
            if model.drafting is not None:
                model.drafting._experience.costs = FlatCosts()
            question = [{"role": "user", "content": "How is the weather in Oslo?"}]
            answer = model.chat(question, tools=[weather], temperature=0, max_tokens=120)
            said.append([*answer.events()])
            calls = [call["function"]["name"] for call in answer.tool_calls]
            timings = answer.timings
    assert calls == ["get_weather"]
    assert without_ids(said[0]) == without_ids(said[1])
    assert timings.n_accepted >= 10


def without_ids(events):
    return [event for event in events if not isinstance(event, glmq.ToolCallEnd)]
