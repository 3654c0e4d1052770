// An answer of the model: its progress, thinking, text, calls, figures, and what can be done with it.
import { CallsView } from "./calls_view.js";
import { copyButton, icon, iconButton, make } from "./elements.js";
import { MarkdownView } from "./markdown_view.js";
import { announce } from "./notices.js";
import { preference } from "./preferences.js";
import { allFigures, counted, duration, endWords, errorWords, statsWords } from "./words.js";

const RESUMABLE = new Set(["stopped", "interrupted", "length", "error"]);

/** Shows an answer. actions: retry, resume, create, askKey, resultsOf, giveResults, nContext(). */
export class AnswerView {
  #message;
  #actions;
  #text = new MarkdownView();
  #thoughts = new MarkdownView("markdown thoughts");
  #calls;
  #thinking;
  #thinkingTitle = make("span", {});
  #status = make("div", { class: "status" });
  #foot = make("div", { class: "foot" });
  #end = make("div", { class: "end" });
  #foldsItself = false;
  #ended = null;

  constructor(message, actions) {
    this.#message = message;
    this.#actions = actions;
    this.#calls = new CallsView(message, actions);
    const summary = make("summary", { onclick: () => (this.#foldsItself = false) }, this.#thinkingTitle);
    this.#thinking = make("details", { class: "thinking", hidden: true }, summary, this.#thoughts.element);
    this.element = make(
      "article",
      { class: "answer", "aria-label": "Answer" },
      ...[this.#thinking, this.#text.element, this.#calls.element, this.#status, this.#end, this.#foot],
    );
  }

  /** Show the answer as it is now. run: what brings it, while it is coming. */
  update(run, isLast) {
    const isRunning = Boolean(run);
    this.element.classList.toggle("running", isRunning);
    this.element.setAttribute("aria-busy", isRunning);
    this.#updateThinking(run);
    const settled = this.#text.show(this.#message.content, isRunning);
    if (isRunning || this.#ended === false) for (const block of settled) announce(block.textContent);
    this.#calls.update(isRunning, isLast);
    this.#updateStatus(run);
    if (!isRunning || this.#ended !== false) this.#updateEnd(isRunning, isLast);
    this.#ended = !isRunning;
  }

  /** Show how time passes. */
  tick(run) {
    this.#updateThinking(run);
    this.#updateStatus(run);
  }

  #updateThinking(run) {
    const text = this.#message.reasoning_content ?? "";
    if (!text.trim()) return;
    const isThinking = run?.phase === "thinking";
    if (this.#thinking.hidden && isThinking && preference("openThinking", false)) this.#thinking.open = this.#foldsItself = true;
    if (!isThinking && this.#foldsItself) this.#thinking.open = this.#foldsItself = false;
    this.#thinking.hidden = false;
    this.#thinking.classList.toggle("live", isThinking);
    const seconds = run ? run.thinkingSeconds : this.#message.thinkingSeconds;
    this.#thinkingTitle.textContent = titleOfThinking(isThinking, seconds);
    this.#thoughts.show(text, isThinking);
  }

  #updateStatus(run) {
    const { phase, progress } = run ?? {};
    this.#status.hidden = phase !== "waiting" && phase !== "reading";
    if (this.#status.hidden) return;
    const isLong = phase === "reading" && progress.total > progress.processed;
    const words = isLong ? `Reading the prompt: ${counted(progress.processed)} of ${counted(progress.total)} tokens` : "Waiting for the first words";
    const bar = isLong && make("progress", { max: progress.total, value: progress.processed, "aria-label": "Prompt read" });
    const dots = make("span", { class: "dots", "aria-hidden": "true" }, make("i"), make("i"), make("i"));
    this.#status.replaceChildren(...(bar ? [bar] : [dots]), make("span", {}, words));
  }

  #updateEnd(isRunning, isLast) {
    const message = this.#message;
    const { ended, error, content } = message;
    this.#end.replaceChildren();
    this.#foot.replaceChildren();
    if (isRunning) return;
    if (error) this.#end.append(this.#errorCard(error, isLast));
    else if (endWords(ended)) this.#end.append(make("p", { class: "hint" }, endWords(ended)));
    if (content || !error) this.#foot.append(...this.#buttons(isLast && content && RESUMABLE.has(ended)), this.#figures());
    if (this.#ended === false) announce(error ? `${errorWords(error).title}. ${error.message}` : endWords(ended) || "The answer is complete.");
  }

  #buttons(resumes) {
    const message = this.#message;
    const buttons = [iconButton("retry", "Retry", () => this.#actions.retry(message))];
    if (message.content) buttons.unshift(copyButton("Copy answer", () => message.content));
    const resume = () => this.#actions.resume(message);
    if (resumes) buttons.push(make("button", { type: "button", class: "small-button", onclick: resume }, icon("forward"), "Continue"));
    return buttons;
  }

  #figures() {
    const words = statsWords(this.#message);
    if (!words) return "";
    const lines = allFigures(this.#message, this.#actions.nContext());
    const list = make("ul", {}, ...lines.map((line) => make("li", {}, line)));
    return make("details", { class: "figures" }, make("summary", { title: "All figures" }, words), list);
  }

  #errorCard(error, isLast) {
    const { title, advice, startsNew, asksKey } = errorWords(error);
    const button = (words, onclick, kind = "") => make("button", { type: "button", class: `button ${kind}`, onclick }, words);
    const buttons = [];
    if (asksKey) buttons.push(button("Enter the key", () => this.#actions.askKey(this.#message), "primary"));
    else if (isLast) buttons.push(button("Try again", () => this.#actions.retry(this.#message), "primary"));
    if (startsNew) buttons.push(button("New conversation", () => this.#actions.create()));
    return make(
      "div",
      { class: "error-card", role: "alert" },
      make("strong", {}, title),
      make("p", {}, error.message),
      make("p", { class: "hint" }, advice),
      make("div", { class: "buttons" }, ...buttons),
    );
  }
}

function titleOfThinking(isThinking, seconds) {
  if (isThinking) return seconds < 1 ? "Thinking" : `Thinking, ${duration(seconds)}`;
  return seconds == null ? "Thought" : `Thought for ${duration(seconds)}`;
}
