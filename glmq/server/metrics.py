"""What a server has done, counted, in Prometheus's text format with llama-server's names."""

from __future__ import annotations

from dataclasses import dataclass

from .answer_events import Finished


@dataclass
class Metrics:
    """Sums over all answers."""

    n_answers: int = 0
    n_prompt: int = 0
    n_cached: int = 0
    prompt_seconds: float = 0.0
    n_predicted: int = 0
    predicted_seconds: float = 0.0
    n_requests: int = 0
    n_refused: int = 0

    def count_request(self, status: int) -> None:
        """Take a request's end in."""
        self.n_requests += 1
        self.n_refused += status >= 400

    def count(self, finished: Finished) -> None:
        """Take an answer in."""
        timings = finished.timings
        self.n_answers += 1
        self.n_prompt += timings.n_prompt
        self.n_cached += timings.n_cached
        self.prompt_seconds += timings.prompt_seconds
        self.n_predicted += timings.n_generated
        self.predicted_seconds += timings.decode_seconds

    def text(self, n_busy: int, n_waiting: int) -> str:
        """All figures."""
        prompt_speed = self.n_prompt / self.prompt_seconds if self.prompt_seconds else 0.0
        speed = self.n_predicted / self.predicted_seconds if self.predicted_seconds else 0.0
        figures = (
            ("prompt_tokens_total", "counter", "Tokens of prompts evaluated.", self.n_prompt),
            ("prompt_tokens_cached_total", "counter", "Tokens of prompts used again.", self.n_cached),
            ("prompt_seconds_total", "counter", "Seconds of reading prompts.", self.prompt_seconds),
            ("tokens_predicted_total", "counter", "Tokens generated.", self.n_predicted),
            ("tokens_predicted_seconds_total", "counter", "Seconds of generating.", self.predicted_seconds),
            ("prompt_tokens_seconds", "gauge", "Tokens of prompts read per second.", prompt_speed),
            ("predicted_tokens_seconds", "gauge", "Tokens generated per second of an answer.", speed),
            ("requests_processing", "gauge", "Answers being generated.", n_busy),
            ("requests_deferred", "gauge", "Answers that wait.", n_waiting),
            ("answers_total", "counter", "Answers that came to their end.", self.n_answers),
            ("http_requests_total", "counter", "Requests.", self.n_requests),
            ("http_requests_refused_total", "counter", "Requests answered with an error.", self.n_refused),
        )
        lines = []
        for name, kind, told, value in figures:
            lines += [
                f"# HELP llamacpp:{name} {told}",
                f"# TYPE llamacpp:{name} {kind}",
                f"llamacpp:{name} {value:g}" if isinstance(value, float) else f"llamacpp:{name} {value}",
            ]
        return "\n".join([*lines, ""])
