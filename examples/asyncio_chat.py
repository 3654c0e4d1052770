"""Several conversations at once on an event loop: python examples/asyncio_chat.py [MODEL]

Their tokens are evaluated together. One of them gets a time limit, and can go on afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import glmq

QUESTIONS = {
    "ada": ("Why is the sky blue?", "And at sunset?"),
    "bob": ("Name three rivers.", "Which is the longest?"),
}


async def talk(model: glmq.Model, name: str, questions: tuple[str, ...]) -> None:
    """Ask one question after another, and print the answers as they are complete."""
    with model.conversation("Be brief.", options=glmq.ChatOptions(max_tokens=60)) as chat:
        for question in questions:
            text = ""
            async for event in chat.asend(question):
                if isinstance(event, glmq.ContentText):
                    text += event.text
            print(f"{name}: {question}\n  {text.strip()}")


async def hurry(model: glmq.Model, seconds: float) -> None:
    """Cancel an answer that takes too long; what is there of it stays in the conversation."""
    with model.conversation() as chat:
        turn = chat.send("Tell me a very long story.")
        try:
            await asyncio.wait_for(turn.arun(), seconds)
        except asyncio.TimeoutError:
            print(f"hurry: stopped after {turn.usage.completion_tokens} tokens")
        print(f"hurry: {await chat.send('Then say hello.').arun()}")


async def main(model_name: str, questions: Mapping[str, tuple[str, ...]] = QUESTIONS) -> None:
    """Load the model and hold all conversations."""
    model = await glmq.aload(model_name)
    with model:
        await asyncio.gather(*(talk(model, *each) for each in questions.items()), hurry(model, 0.2))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    except glmq.GlmqError as error:
        sys.exit(f"error: {error}")
