"""A conversation that the context will soon not hold: what goes before the next answer begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

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
    n_ctx: int,
    summarise: Callable[[Sequence[Message]], str],
    n_used: Callable[[], int],
) -> Compaction | None:
    """Shorten a conversation of more than `n_most` tokens; None where nothing is to be done or can be.

    Its last turn always stays: where the context of `n_ctx` tokens has no room even for that alone nothing
    goes. Summaries stand for the older half of the turns, for fewer where the model gives none; where that
    does not help either, turns are dropped. So much is dropped that half of `n_most` is free: each time, what
    stays must be read again.
    """
    if when_full == "stop" or conversation.n_turns < 2 or (n_before := n_used()) <= n_most:
        return None
    if (n_least := _n_least(conversation, n_used)) > n_ctx:
        return None
    if when_full == "summarise" and n_least < n_most:
        messages = list(conversation.messages)
        done = _summarise_until(conversation, n_most, n_before, summarise, n_used)
        if done is not None:
            return done
        conversation.messages[:] = messages
    dropped = _drop_until(conversation, n_most // 2, n_before, n_used)
    return replace(dropped, lacks_summary=when_full == "summarise")


def _summarise_until(
    conversation: Conversation,
    n_wanted: int,
    n_before: int,
    summarise: Callable[[Sequence[Message]], str],
    n_used: Callable[[], int],
) -> Compaction | None:
    """Summarise older halves until `n_wanted` tokens are left at most; None where no summary does that."""
    n_gone, n_turns = 0, conversation.n_turns // 2
    while n_turns > min(1, n_gone):  # a summary alone is not summarised again
        try:
            done = compact(conversation, n_turns, summarise, n_used)
        except NoSummary:
            n_turns //= 2
            continue
        n_gone += n_turns - min(1, n_gone)
        if done.n_after <= n_wanted:
            return replace(done, n_turns=n_gone, n_before=n_before)
        n_turns = min(max(2, conversation.n_turns // 2), conversation.n_turns - 1)
    return None


def _n_least(conversation: Conversation, n_used: Callable[[], int]) -> int:
    """Tokens of the system message and the last turn."""
    messages = list(conversation.messages)
    conversation.drop_oldest(conversation.n_turns - 1)
    n_tokens = n_used()
    conversation.messages[:] = messages
    return n_tokens


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
