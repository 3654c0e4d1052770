"""Results of tool calls, each put where its call stands.

Chat templates write results one after another, and GLM's write no ids: the model takes the first for the
first call's. So the messages that answer parallel calls are sorted into the order of the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glmq_kernels.errors import GlmqError

Message = dict[str, Any]


def in_order_of_calls(messages: Sequence[Message]) -> list[Message]:
    """The messages, with the results of each message's calls in the order of these calls.

    A result belongs to the call that its `tool_call_id` names; without one, to the first call of its `name`
    that has no other result; without that too, or where calls share ids, to the first call left. Raises
    GlmqError for an id that no call has or that comes twice, for more results than calls, and where the
    result of a call before another's is missing, as the other would be taken for it.
    """
    ordered: list[Message] = []
    calls: list[Message] = []
    results: list[Message] = []
    for message in messages:
        if message.get("role") == "tool":
            results.append(message)
            continue
        ordered += _sorted(results, calls, len(ordered) + 1)
        calls, results = [], []
        if message.get("role") == "assistant":
            calls = list(message.get("tool_calls") or ())
        ordered.append(message)
    return ordered + _sorted(results, calls, len(ordered) + 1)


def function_of(call: Message) -> Message:
    """What holds a call's `name` and `arguments`: its `function`, or in a plainer form the call itself."""
    function = call.get("function")
    return function if isinstance(function, dict) else call


def _sorted(results: Sequence[Message], calls: Sequence[Message], first: int) -> list[Message]:
    """Results in the order of their calls; `first` is the number of the first message among them."""
    if not results:
        return []
    if not calls:
        raise GlmqError(f"message {first} (tool) answers no tool call before it")
    if len(results) > len(calls):
        calling = f"{len(calls)} call{'s' if len(calls) > 1 else ''}"
        raise GlmqError(
            f"message {first + len(calls)} (tool) is a result too many; before the results stand {calling}"
        )
    places = _places_by_id(results, calls, first)
    others = [result for result in results if not any(result is placed for placed in places.values())]
    for by_name in (True, False):
        left = []
        for result in others:
            free = [i for i in range(len(calls)) if i not in places]
            if by_name:
                free = [i for i in free if function_of(calls[i]).get("name") == result.get("name")]
            if free:
                places[free[0]] = result
            else:
                left.append(result)
        others = left
    missing = next((i for i in range(len(results)) if i not in places), None)
    if missing is not None:
        call = calls[missing].get("id") or function_of(calls[missing]).get("name")
        raise GlmqError(f"message {first} (tool) and those behind it hold no result of the call {call}")
    return [places[i] for i in sorted(places)]


def _places_by_id(results: Sequence[Message], calls: Sequence[Message], first: int) -> dict[int, Message]:
    """The results that name their calls, by the calls' places; none where ids do not tell calls apart."""
    ids = [call.get("id") or None for call in calls]
    tells_apart = None not in ids and len(set(ids)) == len(ids)
    places: dict[int, Message] = {}
    for number, result in enumerate(results, first):
        wanted = result.get("tool_call_id")
        if not wanted or not any(ids):
            continue
        if wanted not in ids:
            known = ", ".join(each or "one without an id" for each in ids)
            raise GlmqError(
                f"message {number} (tool) answers the call {wanted}, which is not among those made: {known}"
            )
        place = ids.index(wanted)
        if place in places and tells_apart:
            raise GlmqError(f"message {number} (tool) answers the call {wanted} a second time")
        if place in places or ids.count(wanted) > 1:
            return {}
        places[place] = result
    return places
