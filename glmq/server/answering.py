"""Answers of the model as events: of conversations, and of texts that are continued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..answer_costs import Usage
from ..chat.answer import Answer
from ..chat.answer_tags import CALL_TAGS, THINKING_TAGS
from ..chat.events import ContentText, ReasoningText, ToolCallBegin
from ..generation import Generation
from ..token_logprobs import TokenLogprob, prompt_logprobs
from .answer_events import AnswerEvent, Finished, Piece, PromptRead, Reason

if TYPE_CHECKING:
    from ..model import Model
    from ..session import Session

Post = Callable[[AnswerEvent], None]
NewAnswer = Callable[[Callable[[int, int], None]], Answer]
NewGeneration = Callable[[Callable[[int, int], None], "Session | None"], Generation]


class ChatAnswer:
    """An answer in a conversation. choice: its number. end_loops: whether repeating itself ends it."""

    def __init__(self, choice: int, new_answer: NewAnswer, model: Model, *, end_loops: bool) -> None:
        self._choice, self._end_loops = choice, end_loops
        self._post: Post = lambda event: None
        self._answer = new_answer(self._tell_progress)
        self._tag_ids = {model.tokenizer.token_id(tag) for tag in CALL_TAGS | THINKING_TAGS}
        self.prompt: list[int] = self._generation.prompt

    @property
    def n_prompt(self) -> int:
        """Tokens of its prompt."""
        return len(self.prompt)

    def run(self, post: Post) -> None:
        """Generate it."""
        self._post = post
        answer, n_told, looped = self._answer, 0, False
        for event in answer.events():
            logprobs: tuple[TokenLogprob, ...] = ()
            if not isinstance(event, ReasoningText) and (found := self._generation.logprobs[n_told:]):
                n_told += len(found)
                if isinstance(event, ContentText):
                    logprobs = tuple(each for each in found if each.token not in self._tag_ids)
            elif isinstance(event, ReasoningText):
                n_told = len(self._generation.logprobs)
            call_id = str(answer.tool_calls[event.index]["id"]) if isinstance(event, ToolCallBegin) else ""
            post(Piece(self._choice, event, logprobs, call_id, answer.timings))
            if self._end_loops and answer.looping and not looped:
                looped = True
                answer.cancel()
        reason: Reason = "length" if looped else _reason(answer.finish_reason, bool(answer.tool_calls))
        post(Finished(self._choice, reason, answer.usage, answer.timings, answer.stop_text))

    def cancel(self) -> None:
        """End it at the next token."""
        self._answer.cancel()

    @property
    def _generation(self) -> Generation:
        generation = self._answer.generation
        assert isinstance(generation, Generation)
        return generation

    def _tell_progress(self, n_done: int, n_wanted: int) -> None:
        self._post(PromptRead(self._choice, n_done, n_wanted))


class Completion:
    """A text that is continued. echo: its prompt comes first, with log-probabilities where they are wanted.

    n_logprobs: how many of the likeliest tokens those tell. generates: whether anything is to follow.
    """

    def __init__(
        self,
        choice: int,
        new_generation: NewGeneration,
        model: Model,
        prompt: Sequence[int],
        *,
        echo: bool,
        n_logprobs: int | None,
        generates: bool,
    ) -> None:
        self._choice, self._model, self.prompt = choice, model, list(prompt)
        self._echo, self._n_logprobs, self._generates = echo, n_logprobs, generates
        self._post: Post = lambda event: None
        self._session = model.session() if echo and n_logprobs is not None else None
        self._generation = new_generation(self._tell_progress, self._session)

    @property
    def n_prompt(self) -> int:
        """Tokens of its prompt."""
        return len(self.prompt)

    def run(self, post: Post) -> None:
        """Continue it."""
        self._post, generation, n_told = post, self._generation, 0
        if self._echo:
            self._tell_prompt()
        if not self._generates:
            usage = Usage(len(self.prompt))
            post(Finished(self._choice, "length", usage, generation.timings))
            return
        for text in generation:
            logprobs = tuple(generation.logprobs[n_told:])
            n_told += len(logprobs)
            post(Piece(self._choice, ContentText(text), logprobs))
        reason = _reason(generation.finish_reason, False)
        post(Finished(self._choice, reason, generation.usage, generation.timings))

    def cancel(self) -> None:
        """End it at the next token."""
        self._generation.cancel()

    def _tell_prompt(self) -> None:
        logprobs: list[TokenLogprob | None] = []
        if self._session is not None and self._n_logprobs is not None:
            logprobs = prompt_logprobs(self._session, self.prompt, self._n_logprobs)
            logprobs[0] = TokenLogprob(self.prompt[0], float("nan"))
        self._post(Piece(self._choice, ContentText(self._model.detokenize(self.prompt)), tuple(logprobs)))

    def _tell_progress(self, n_done: int, n_wanted: int) -> None:
        self._post(PromptRead(self._choice, n_done, n_wanted))


def _reason(reason: str | None, has_calls: bool) -> Reason:
    """Why an answer ended. Calls that cannot be run count too: the client tells the model what is wrong."""
    if reason == "stop" and has_calls:
        return "tool_calls"
    if reason in ("stop", "length", "context", "tool_calls"):
        return reason  # type: ignore[return-value]
    return "cancelled"
