"""A chat window, of glmq and tkinter alone: python examples/chat_window.py [MODEL]

Widgets belong to the main thread. The model works in a thread of its own, which posts what is to be shown;
the main thread looks for that every few milliseconds, so that the window never waits for the model.
"""

from __future__ import annotations

import queue
import sys
import threading
import tkinter as tk
from collections.abc import Callable
from functools import partial
from tkinter.scrolledtext import ScrolledText

import glmq

POLL_MILLISECONDS = 20
FOLDED, OPEN = "▸ thinking", "▾ thinking"


class ChatWindow:
    """Send with Enter, begin a new line with Shift-Enter, click on "thinking" to open it."""

    def __init__(self, root: tk.Tk, model: str) -> None:
        self.root = root
        self.posted: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.turns: queue.SimpleQueue[glmq.Turn | None] = queue.SimpleQueue()
        self.chat: glmq.ChatSession | None = None
        self.turn: glmq.Turn | None = None
        self.n_thoughts = 0
        self.is_thinking = self.closing = False
        self.build()
        self.worker = threading.Thread(target=self.work, args=(model,), daemon=True)
        self.worker.start()
        self.poll()

    def build(self) -> None:
        """Make the widgets."""
        self.root.title("glmq")
        self.root.protocol("WM_DELETE_WINDOW", self.close)
        self.status = tk.Label(self.root, anchor="w", justify="left", text="loading …")
        self.status.pack(side="bottom", fill="x", padx=8)
        self.status.bind("<Configure>", lambda event: self.status.configure(wraplength=event.width))
        row = tk.Frame(self.root)
        row.pack(side="bottom", fill="x", padx=8, pady=4)
        self.button = tk.Button(row, text="Send", width=6, state="disabled", command=self.send)
        self.button.pack(side="right", padx=(6, 0))
        self.entry = tk.Text(row, height=3, wrap="word")
        self.entry.pack(side="left", fill="x", expand=True)
        self.entry.bind("<Return>", self.on_return)
        self.entry.focus()
        self.text = ScrolledText(self.root, wrap="word", state="disabled", padx=8, pady=8)
        self.text.pack(fill="both", expand=True)
        self.text.tag_configure("question", foreground="#0057a8", spacing1=12, spacing3=6)
        self.text.tag_configure("thinking", foreground="#777777", lmargin1=18, lmargin2=18)
        self.text.tag_configure("fold", foreground="#777777")

    # What the model's thread does.

    def work(self, name: str) -> None:
        """Load the model, then answer until there is None."""
        try:
            with glmq.load(name, progress=self.progress) as model, model.conversation() as chat:
                self.posted.put(partial(self.ready, chat))
                for turn in iter(self.turns.get, None):
                    self.answer(turn)
        except glmq.GlmqError as error:
            self.posted.put(partial(self.tell, str(error), is_error=True))

    def answer(self, turn: glmq.Turn) -> None:
        """Post the events of an answer, and how it ended."""
        told, failed = "", False
        try:
            for event in turn.events():
                self.posted.put(partial(self.show, event))
            told = f"{turn.usage.completion_tokens} tokens, {turn.timings.decode_per_second:.0f} a second"
            told = f"stopped · {told}" if turn.finish_reason == "cancelled" else told
        except glmq.GlmqError as error:
            told, failed = str(error), True
        self.posted.put(partial(self.finish, told, failed))

    def progress(self, text: str, fraction: float) -> None:
        """Tell how far loading is; a window that is closed meanwhile ends it."""
        if self.closing:
            raise SystemExit
        self.posted.put(partial(self.tell, f"{text} … {fraction:.0%}"))

    # What the main thread does.

    def poll(self) -> None:
        """Show what was posted."""
        for _ in range(self.posted.qsize()):
            self.posted.get()()
        self.polling = self.root.after(POLL_MILLISECONDS, self.poll)

    def ready(self, chat: glmq.ChatSession) -> None:
        """The model is loaded."""
        self.chat = chat
        self.button.configure(state="normal")
        self.tell("ready")

    def on_return(self, event: tk.Event[tk.Text]) -> str | None:
        """Send, unless Shift is held."""
        if int(event.state) & 1:
            return None
        self.send()
        return "break"

    def send(self) -> None:
        """Ask what is typed, if the model is there and has nothing else to do."""
        text = self.entry.get("1.0", "end").strip()
        if not text or self.chat is None or self.turn is not None:
            return
        self.entry.delete("1.0", "end")
        self.write(f"{text}\n", "question")
        self.turn = self.chat.send(text)
        self.turns.put(self.turn)
        self.button.configure(text="Stop", command=self.turn.cancel)
        self.tell("…")

    def show(self, event: glmq.TurnEvent) -> None:
        """Show a piece of the answer."""
        match event:
            case glmq.ReasoningText(text):
                if not self.is_thinking:
                    self.begin_thinking()
                self.write(text, "thinking", f"thought {self.n_thoughts}")
            case glmq.ContentText(text):
                self.end_thinking()
                self.write(text)

    def begin_thinking(self) -> None:
        """Write the line that folds and opens the thinking behind it."""
        self.is_thinking = True
        self.n_thoughts += 1
        thought, fold = f"thought {self.n_thoughts}", f"fold {self.n_thoughts}"
        self.text.tag_configure(thought, elide=True)
        self.text.tag_bind(fold, "<Button-1>", lambda event: self.toggle(thought, fold))
        self.write(FOLDED, "fold", fold)
        self.write("\n", "fold")

    def end_thinking(self) -> None:
        """Go on in a line of its own."""
        if self.is_thinking:
            self.write("\n", "thinking", f"thought {self.n_thoughts}")
        self.is_thinking = False

    def toggle(self, thought: str, fold: str) -> None:
        """Open or fold a thought."""
        is_folded = bool(int(self.text.tag_cget(thought, "elide")))
        self.text.tag_configure(thought, elide=not is_folded)
        begin, end = self.text.tag_ranges(fold)
        self.text.configure(state="normal")
        self.text.insert(end, OPEN if is_folded else FOLDED, ("fold", fold))
        self.text.delete(begin, end)
        self.text.configure(state="disabled")

    def write(self, text: str, *tags: str) -> None:
        """Add to the conversation, and keep its end in sight where it was."""
        at_end = self.text.yview()[1] > 0.99
        self.text.configure(state="normal")
        self.text.insert("end", text, tags)
        self.text.configure(state="disabled")
        if at_end:
            self.text.see("end")

    def finish(self, told: str, is_error: bool) -> None:
        """The answer has ended."""
        self.end_thinking()
        self.write("\n")
        self.turn = None
        self.button.configure(text="Send", command=self.send)
        self.tell(told, is_error=is_error)

    def tell(self, text: str, *, is_error: bool = False) -> None:
        """Say something below."""
        self.status.configure(text=text, foreground="#b00020" if is_error else "#555555")

    def close(self) -> None:
        """End the answer and the model's thread, then the window."""
        if not self.closing:
            self.closing = True
            self.root.withdraw()
            if self.turn is not None:
                self.turn.cancel()
            self.turns.put(None)
        if self.worker.is_alive():
            self.root.after(POLL_MILLISECONDS, self.close)
            return
        self.root.after_cancel(self.polling)
        self.root.destroy()


if __name__ == "__main__":
    ChatWindow(tk.Tk(), sys.argv[1] if len(sys.argv) > 1 else "demo").root.mainloop()
