"""Requests with the same beginning stand behind each other, and the first of many is read ahead."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glmq.batch_file.order import LEAST_SHARED, by_beginning

from .files import batch_file, chat

ONE, OTHER = ("".join(f"{word} {i}. " for i in range(LEAST_SHARED // 4)) for word in ("one", "other"))


def turns(path, texts):
    """The numbers of the texts in their order, and which of them lead."""
    lines = [chat(str(i), text) for i, text in enumerate(texts)]
    with batch_file(path / "in.jsonl", lines) as file:
        ordered = by_beginning(file, file.requests)
    return [int(turn.request.custom_id) for turn in ordered], [turn.leads for turn in ordered]


def test_short_requests_lead_nobody(tmp_path):
    assert turns(tmp_path, ["b", "a", "c"]) == ([1, 0, 2], [False, False, False])


def test_the_first_of_those_with_a_long_beginning_leads(tmp_path):
    texts = [f"{ONE} 1", f"{OTHER} 1", f"{ONE} 2", f"{OTHER} 2", f"{ONE} 3"]
    assert turns(tmp_path, texts) == ([0, 2, 4, 1, 3], [True, False, False, True, False])


def test_a_longer_beginning_within_one_has_a_leader_of_its_own(tmp_path):
    texts = [f"{ONE}{OTHER}1", f"{ONE}{OTHER}2", f"{ONE}z1", f"{ONE}z2", f"{ONE}{OTHER}3"]
    assert turns(tmp_path, texts) == ([0, 1, 4, 2, 3], [True, False, False, False, False])
    texts = [f"{ONE}a", f"{ONE}{OTHER}1", f"{ONE}{OTHER}2"]
    assert turns(tmp_path, texts) == ([0, 1, 2], [True, True, False])


def test_a_long_request_alone_leads_nobody(tmp_path):
    assert turns(tmp_path, [ONE, OTHER])[1] == [False, False]


@given(st.lists(st.sampled_from(["", "a", ONE, ONE + "b", ONE + OTHER, OTHER]), min_size=1, max_size=8))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_each_request_has_one_turn(tmp_path, texts):
    numbers, leads = turns(tmp_path, texts)
    assert sorted(numbers) == list(range(len(texts)))
    assert not leads[-1]
