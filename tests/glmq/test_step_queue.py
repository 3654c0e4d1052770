"""Turns, waiting and memory of requests, against a clock and an engine that are only counted."""

from __future__ import annotations

import itertools

import pytest

from glmq.errors import ContextFull, OutOfPages
from glmq.scheduling.request import Beside, Cancelled, Progress
from glmq.scheduling.step_queue import PATIENCE

from .scripted_engine import CountedMemory, ScriptedSequence, Simulation


def slow(n_decode, n_prompt):
    """A large model: a token takes 0.11 s, eight take 0.2, and prompts 10 ms a token."""
    return (0.1 + 0.0125 * n_decode if n_decode else 0) + (0.05 + 0.01 * n_prompt if n_prompt else 0)


def fast(n_decode, n_prompt):
    """A small one."""
    return 0.001 + 0.0002 * n_decode + 0.0001 * n_prompt


def in_steps(simulation, sequence):
    """Numbers of tokens that the steps hold of a sequence."""
    return [
        sum(chunk.n_tokens for chunk in chunks if chunk.request.sequence is sequence)
        for _, _, chunks in simulation.steps
    ]


def decoding_together(simulation, sequences, n_tokens, draws):
    """Sequences that decode side by side, each drawing its tokens in `draws` seconds."""
    due = dict.fromkeys(sequences, simulation.now)
    waiting, left = {}, dict.fromkeys(sequences, n_tokens)
    while left or waiting:
        for sequence, at in list(due.items()):
            if at <= simulation.now:
                del due[sequence]
                waiting[sequence] = simulation.submit(sequence, 1)
        later = simulation.queue.next(simulation.now)
        if isinstance(later, float) or (later is None and due):
            arrivals = [at for at in due.values() if at > simulation.now]
            times = arrivals + ([later] if isinstance(later, float) and later > simulation.now else [])
            simulation.now = min(times)
            continue
        assert simulation.run_one() is not None
        for sequence, request in list(waiting.items()):
            if not request.replies.empty():
                del waiting[sequence]
                left[sequence] -= 1
                if left[sequence]:
                    due[sequence] = simulation.now + draws
                else:
                    del left[sequence]
                    simulation.queue.end(sequence, simulation.now)


@pytest.mark.parametrize("cost", (slow, fast))
def test_no_long_gap_while_a_prompt_is_read_and_the_prompt_at_half_its_speed(cost):
    alone = Simulation(cost)
    prompt = alone.submit(ScriptedSequence(), 4000)
    while prompt.replies.empty():
        alone.run_one()

    simulation, decoding = Simulation(cost), ScriptedSequence()
    undisturbed = simulation.decode(decoding, 20)[-1] / 20
    began = simulation.now
    prompt = simulation.submit(ScriptedSequence(), 4000)
    times = [began]
    while prompt.replies.empty():
        times += simulation.decode(decoding, 1)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps[1:]) <= max(0.5, 6 * undisturbed)
    assert simulation.now - began <= 2 * alone.now
    assert len(times) > 5


def test_prompts_of_one_sequence_after_another_take_whole_batches():
    """Who reads texts alone does not decode."""
    simulation, sequences = Simulation(slow), [ScriptedSequence() for _ in range(3)]
    for sequence in sequences:
        simulation.submit(sequence, 512)
        simulation.run_one()
    assert [len(sequence.tokens) for sequence in sequences] == [512] * 3


def test_prompts_are_read_in_fair_turns():
    simulation = Simulation(slow)
    long, short = ScriptedSequence(), ScriptedSequence()
    simulation.submit(long, 4000)
    simulation.run_one()
    finished = simulation.submit(short, 300)
    while finished.replies.empty():
        simulation.run_one()
    assert in_steps(simulation, long) == [512, 256, 468]
    assert in_steps(simulation, short) == [0, 256, 44]


def test_many_prompts_take_turns_and_none_waits_for_ever():
    simulation = Simulation(slow)
    simulation.decode(ScriptedSequence(), 1)
    sequences = [ScriptedSequence() for _ in range(20)]
    for sequence in sequences:
        simulation.submit(sequence, 640)
    for _ in range(40):
        simulation.run_one()
    assert all(sequence.tokens for sequence in sequences)


@pytest.mark.parametrize("draws", (0.0, 0.002, 0.02))
def test_sequences_that_decode_side_by_side_stay_together(draws):
    simulation = Simulation(slow)
    sequences = [ScriptedSequence() for _ in range(8)]
    decoding_together(simulation, sequences, 10, draws)
    assert [len(chunks) for _, _, chunks in simulation.steps] == [8] * 10


def test_nobody_is_waited_for_who_takes_long():
    simulation = Simulation(slow)
    quick, dreamy = ScriptedSequence(), ScriptedSequence()
    simulation.decode(dreamy, 3, draws=5.0)
    simulation.submit(dreamy, 1)
    first = simulation.decode(quick, 1)
    times = first + simulation.decode(quick, 20)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) <= slow(1, 0) * 1.001


def test_one_who_has_something_done_between_steps_is_waited_for_again():
    """As after a step, from when it is done."""
    simulation = Simulation(slow)
    drafts, plain = ScriptedSequence(), ScriptedSequence()
    for _ in range(3):
        requests = [simulation.submit(sequence, 1) for sequence in (drafts, plain)]
        assert len(simulation.run_one().chunks) == 2
        assert not any(request.replies.empty() for request in requests)
        simulation.queue.came_back(drafts, simulation.now)
        simulation.now += slow(1, 0)
        simulation.queue.expect_again(drafts, simulation.now)
        waiting = simulation.submit(plain, 1)
        assert simulation.queue.next(simulation.now) == pytest.approx(simulation.now + 0.25 * slow(2, 0))
        simulation.queue.remove(waiting, Cancelled())


def test_the_grace_for_one_who_does_not_come_is_a_share_of_the_step():
    simulation = Simulation(slow)
    gone, stays = ScriptedSequence(), ScriptedSequence()
    simulation.submit(gone, 1)
    times = simulation.decode(stays, 3)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] <= slow(1, 0) + 0.25 * slow(2, 0) * 1.001
    assert gaps[1] == pytest.approx(slow(1, 0))


def test_each_hears_what_decoded_beside_it_and_how_far_that_will_come():
    simulation = Simulation(fast)
    plain = simulation.submit(ScriptedSequence(), 1)
    drafted = simulation.submit(ScriptedSequence(), 4, n_draft=3, promised=1.5)
    simulation.run_one()
    assert plain.beside == Beside(n_tokens=4, progress=2.5)
    assert drafted.beside == Beside(n_tokens=1, progress=1.0)


def test_progress_is_handed_back_between_steps():
    simulation = Simulation(slow)
    request = simulation.submit(ScriptedSequence(), 1000, hands_back=True)
    simulation.run_one()
    assert request.replies.get() == Progress(512)
    assert simulation.run_one() is None
    simulation.queue.submit(request, simulation.now)
    simulation.run_one()
    assert request.replies.get() is None


def test_a_cancelled_request_ends_at_the_next_step():
    simulation, ended = Simulation(slow), []
    sequence = ScriptedSequence()
    request = simulation.submit(sequence, 1000, is_cancelled=lambda: bool(ended))
    simulation.run_one()
    ended.append(True)
    assert simulation.run_one() is None
    assert isinstance(request.replies.get(), Cancelled)
    assert len(sequence.tokens) == 512


def test_what_can_never_have_room_is_refused_at_once():
    simulation = Simulation(slow)
    request = simulation.submit(ScriptedSequence(CountedMemory(100)), 101)
    assert simulation.queue.next(0.0) is None
    assert isinstance(request.replies.get(), ContextFull)


def test_a_prompt_waits_for_memory_and_later_ones_behind_it():
    simulation, memory = Simulation(slow), CountedMemory(1000)
    first, second, third = (ScriptedSequence(memory) for _ in range(3))
    for sequence in (first, second, third):
        simulation.queue.begin(sequence)
    reads = simulation.submit(first, 600)
    waits, behind = simulation.submit(second, 600), simulation.submit(third, 100)
    while reads.replies.empty():
        simulation.run_one()
    assert not second.tokens and not third.tokens
    assert isinstance(simulation.queue.next(simulation.now), float)
    first.release()
    simulation.queue.end(first, simulation.now)
    while waits.replies.empty() or behind.replies.empty():
        assert simulation.run_one() is not None
    assert (waits.replies.get(), behind.replies.get()) == (None, None)


def test_decoding_goes_on_while_a_prompt_waits_for_memory():
    simulation, memory = Simulation(slow), CountedMemory(1000)
    decoding = ScriptedSequence(memory)
    simulation.queue.begin(decoding)
    simulation.decode(decoding, 1)
    waits = simulation.submit(ScriptedSequence(memory), 1000)
    simulation.decode(decoding, 5)
    assert waits.replies.empty()


def test_who_waits_for_memory_that_nobody_will_give_back_is_refused():
    simulation, memory = Simulation(slow), CountedMemory(1000)
    holds = ScriptedSequence(memory)
    holds.reserve(900)
    request = simulation.submit(ScriptedSequence(memory), 200)
    assert simulation.queue.next(simulation.now) is None
    error = request.replies.get()
    assert isinstance(error, OutOfPages) and "200 tokens need more memory" in str(error)


def test_where_all_wait_for_each_others_memory_the_last_is_refused_and_the_others_go_on():
    simulation, memory = Simulation(slow), CountedMemory(8)
    sequences = [ScriptedSequence(memory) for _ in range(4)]
    for sequence in sequences:
        simulation.queue.begin(sequence)
        simulation.decode(sequence, 2)
    waiting = [simulation.submit(sequence, 1) for sequence in sequences]
    assert isinstance(simulation.queue.next(simulation.now), float), "the refused one has not given back yet"
    assert isinstance(waiting[-1].replies.get(), OutOfPages)
    sequences[-1].release()
    simulation.queue.end(sequences[-1], simulation.now)
    assert simulation.run_one() is not None
    assert [request.replies.get() for request in waiting[:2]] == [None, None]
    assert waiting[2].replies.empty()


def test_an_answer_at_rest_is_waited_for_with_patience_only():
    simulation, memory = Simulation(slow), CountedMemory(100)
    at_rest = ScriptedSequence(memory)
    simulation.queue.begin(at_rest)
    simulation.decode(at_rest, 60)
    began = simulation.now
    request = simulation.submit(ScriptedSequence(memory), 60)
    assert simulation.run_one() is None
    assert isinstance(request.replies.get(), OutOfPages)
    assert simulation.now - began == pytest.approx(PATIENCE)
