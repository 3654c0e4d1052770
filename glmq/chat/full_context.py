"""A conversation that the context will soon not hold: what goes before the next answer begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from .conversation import Conversation
from .messages import Message
from .summary import Compaction, NoSummary, compact
from .when_full import WhenFull

ANSWER_SHARE = 4
"""Of the context, one part in so many is kept free for an answer whose length nobody has limited."""


def room_for_answer(n_ctx: int, max_tokens: int | None) -> int:
    """Tokens that are to be free before an answer begins: as many as it may have, at most half of all."""
    return min(max_tokens or n_ctx // ANSWER_SHARE, n_ctx // 2)


def make_room(
    conversation: Conversation,
    when_full: WhenFull,
    n_most: int,
    summarise: Callable[[Sequence[Message]], str],
    n_used: Callable[[], int],
) -> Compaction | None:
    """Shorten a conversation of more than `n_most` tokens; None where nothing is to be done or can be.

    Its last turn always stays. Summaries stand for the older half of the turns, for fewer where the model
    gives none; where that does not help either, turns are dropped. So much is dropped that half of `n_most`
    is free: each time, what stays must be read again.
    """
    if when_full == "stop" or conversation.n_turns < 2 or (n_before := n_used()) <= n_most:
        return None
    n_turns = conversation.n_turns // 2 if when_full == "summarise" else 0
    while n_turns:
        with suppress(NoSummary):
            done = compact(conversation, n_turns, summarise, n_used)
            if done.n_after <= n_most:
                return done
            break
        n_turns //= 2
    return _drop_until(conversation, n_most // 2, n_before, n_used)


def _drop_until(
    conversation: Conversation, n_wanted: int, n_before: int, n_used: Callable[[], int]
) -> Compaction:
    """Drop as few of the oldest turns as leave `n_wanted` tokens at most, or all but the last turn."""
    messages = list(conversation.messages)
    least, most = 1, conversation.n_turns - 1
    while least < most:  # counting takes a while, so the number is halved in
        n_turns = (least + most) // 2
        conversation.drop_oldest(n_turns)
        fits = n_used() <= n_wanted
        conversation.messages[:] = messages
        least, most = (least, n_turns) if fits else (n_turns + 1, most)
    conversation.drop_oldest(least)
    return Compaction(least, n_before, n_used(), "")
