"""How often guesses of multi-token prediction come true by their probability, and what that gains.

python bench/guess_probability.py FOLDER [--n-draft 4]

FOLDER: a checkpoint with held-out text and conversations beside it. Its layer drafts behind every token of
greedy answers to the conversations, and of texts that are drawn behind pieces of the held-out one. Tables:
the share of guesses that came true, by place and probability; and how many times as fast as without drafts
these answers would come by what runs and guesses cost, with drafts planned by place alone and by probability
too. Costs are set, in the time of a run of one token; the choices are those that answers make.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from glmq_convert.conversion import convert

import glmq
from bench.prediction import load_predicting
from glmq.drafting.answer_drafting import AnswerDrafting, Experience
from glmq.drafting.drafter import Drafter, Guess, WantsMore, wants_all
from glmq.drafting.mtp import ASSUMED
from glmq.drafting.sureness import PROBABILITIES
from glmq.prediction import Predicted
from glmq.sampling.sampler import Sampler
from glmq.scheduling.request import ALONE

N_ANSWER, N_TEXT, N_PREFIX, TEXT_STEP = 80, 100, 200, 1500
"""Tokens of an answer and of a text, of a text's beginning, and from one beginning to the next."""

COSTS = (
    ("46 layers of Air's shape, as worked out", 0.41, 0.06),
    ("rows that cost little", 0.15, 0.06),
    ("rows that cost a quarter", 0.25, 0.1),
    ("rows that cost much", 0.6, 0.06),
    ("guesses that cost much", 0.3, 0.25),
)
"""Names, a further row of a run, a guess."""


@dataclass(frozen=True)
class Text:
    """Tokens, and what the layer guesses behind each."""

    tokens: list[int]
    drafts: list[list[Predicted]]

    def compared(self, place: int) -> Iterator[tuple[float, bool]]:
        """Probabilities of guesses at a place, where those before them came true, and if they did."""
        for i, draft in enumerate(self.drafts[: len(self.tokens) - 1 - place]):
            following = self.tokens[i + 1 : i + 1 + place]
            if len(draft) > place and [guess.token for guess in draft[:place]] == following:
                yield draft[place].probability, draft[place].token == self.tokens[i + 1 + place]


def followed(model: glmq.Model, prompt: Sequence[int], n: int, sampling: glmq.Sampling, n_draft: int) -> Text:
    """What follows a prompt, with a draft behind each token."""
    session, sampler = model.session(), Sampler(sampling, model.tokenizer, prompt)
    text, logits = Text([], []), session.evaluate(prompt)
    for _ in range(n):
        token = sampler.sample(logits)
        if token in model.tokenizer.eog_ids:
            break
        text.tokens.append(token)
        text.drafts.append(session.draft([token], n_draft))
        logits = session.evaluate([token])
    return text


def answers(model: glmq.Model, folder: Path, n_draft: int) -> Iterator[Text]:
    """To every turn of the conversations."""
    greedy = glmq.Sampling(temperature=0, repeat_penalty=1)
    for conversation in json.loads((folder / "heldout_conversations.json").read_text()):
        for i, message in enumerate(conversation["messages"]):
            if message["role"] == "assistant":
                prompt = model.chat_template.render(
                    conversation["messages"][:i], tools=conversation["tools"],
                    enable_thinking=conversation["enable_thinking"],
                )  # fmt: skip
                yield followed(model, model.tokenize(prompt), N_ANSWER, greedy, n_draft)


def texts(model: glmq.Model, folder: Path, n_draft: int) -> Iterator[Text]:
    """Drawn behind pieces of the held-out text."""
    tokens = model.tokenize((folder / "heldout_text.txt").read_text())
    for first in range(0, len(tokens) - 2 * N_PREFIX, TEXT_STEP):
        sampling = glmq.Sampling(temperature=0.8, top_k=0, top_p=1, min_p=0, seed=first)
        yield followed(model, tokens[first : first + N_PREFIX], N_TEXT, sampling, n_draft)


class Recorded:
    """Guesses what was recorded. n_made: guesses. tells_probability: whether it tells that too."""

    name, costs = "mtp", True

    def __init__(self, text: Text, *, tells_probability: bool) -> None:
        self.tells_probability = tells_probability
        self.n_made = 0
        self._text, self._place = text, -1

    def begin(self, prompt: Sequence[int]) -> None:
        """Nothing to do."""

    def accept(self, token: int) -> None:
        """Go on."""
        self._place += 1

    def next_guess(self) -> None:
        """None: guesses take time."""

    def kinds(self, n_most: int) -> Sequence[int]:
        """Places."""
        return range(min(n_most, len(self._text.drafts[self._place])))

    def assumed(self, kind: int) -> float:
        """As of the layer."""
        return ASSUMED[min(kind, len(ASSUMED) - 1)]

    def propose(self, n_most: int, wants_more: WantsMore = wants_all) -> Sequence[Guess]:
        """The draft behind the token of this place."""
        guesses: list[Guess] = []
        for place, (token, probability) in enumerate(self._text.drafts[self._place][:n_most]):
            guesses.append(Guess(token, place, probability if self.tells_probability else None))
            if not wants_more(guesses):
                break
        self.n_made += len(guesses)
        return guesses

    def end(self) -> None:
        """Nothing is held."""


@dataclass
class SetCosts:
    """Runs in the time of one token. further: of each token more."""

    further: float

    def estimate(self, n_rows: int) -> float:
        """Of a run."""
        return 1 + self.further * (n_rows - 1)


class SetExperience(Experience):
    """With guesses that cost what is set."""

    def __init__(self, costs: SetCosts, guess: float) -> None:
        super().__init__(costs)
        self._guess = guess

    def guess_seconds(self, drafter: Drafter) -> float:
        """As set."""
        return self._guess


def gain(texts: Iterable[Text], further: float, guess: float, *, by_probability: bool) -> str:
    """How many times as fast drafts make texts, and the share of checked guesses that came true."""
    costs = SetCosts(further)
    experience = SetExperience(costs, guess)
    spent = plain = 0.0
    n_checked = n_right = 0
    for text in texts:
        recorded, left = Recorded(text, tells_probability=by_probability), text.tokens[::-1]
        drafting = AnswerDrafting([recorded], experience, ())
        plain += max(0, len(left) - 1)
        drafting.accept(left.pop() if left else 0)
        while left:
            draft = drafting.draft(1, ALONE, len(left) - 1)
            drafting.checked(len(draft))
            spent += costs.estimate(1 + len(draft))
            n_checked += len(draft)
            for token in draft:
                if token != left[-1]:
                    break
                drafting.accept(left.pop())
                n_right += 1
            drafting.accept(left.pop())
        spent += guess * recorded.n_made
    return f"{plain / spent:.3f} ({n_right / max(1, n_checked):.2f} of {n_checked})"


def shares(texts: Sequence[Text], n_draft: int) -> Iterator[str]:
    """Rows: probabilities, and for each place the share of guesses that came true, and how many."""
    compared = [[each for text in texts for each in text.compared(place)] for place in range(n_draft)]
    for kind in range(len(PROBABILITIES) + 1):
        name = f"{(0, *PROBABILITIES)[kind]} to {(*PROBABILITIES, 1)[kind]}"
        of_places = [[right for p, right in found if bisect(PROBABILITIES, p) == kind] for found in compared]
        yield f"| {name} | " + " | ".join(share(found) for found in of_places) + " |"
    yield "| all | " + " | ".join(share([right for _, right in found]) for found in compared) + " |"


def share(found: Sequence[bool]) -> str:
    """Of what is true, and of how many."""
    return f"{np.mean(found):.2f} of {len(found)}" if found else ""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-draft", type=int, default=4)
    options = parser.parse_args()
    kinds: dict[str, Callable[[glmq.Model, Path, int], Iterator[Text]]] = {"answers": answers, "texts": texts}
    with tempfile.TemporaryDirectory() as place:
        path = convert(options.folder, Path(place) / "model.gguf", "bf16")
        with load_predicting(path) as model:
            found = {kind: [*each(model, options.folder, options.n_draft)] for kind, each in kinds.items()}
    for kind, of_kind in found.items():
        print(f"| {kind} |", " | ".join(f"guess {n + 1}" for n in range(options.n_draft)), "|")
        print("|" + " --- |" * (options.n_draft + 1))
        print(*shares(of_kind, options.n_draft), "", sep="\n")
    print("| | a further row | a guess | by place | by probability too |\n|" + " --- |" * 5)
    for kind, of_kind in found.items():
        for name, further, guess in COSTS:
            gains = [gain(of_kind, further, guess, by_probability=by) for by in (False, True)]
            print(f"| {kind}: {name} | {further} | {guess} | {' | '.join(gains)} |")


if __name__ == "__main__":
    main()
