// The messages of the current conversation.
import { AnswerView } from "./answer_view.js";
import { byId, make } from "./elements.js";
import { QuestionView } from "./question_view.js";
import { FollowedEnd } from "./scrolling.js";

const TICK_MS = 500;
const SUGGESTIONS = [
  "Explain how a mixture-of-experts model works, as to a friend.",
  "Write a Python function that finds the longest word in a text.",
  "Plan a weekend with one long walk and one good meal.",
  "Make a table of the planets with their sizes and moons.",
];

/** Shows a conversation. actions: as questions and answers need them, and send(text). */
export class ThreadView {
  #area = byId("thread");
  #list = byId("messages");
  #end = new FollowedEnd(this.#area);
  #views = new Map();
  #actions;
  #conversation = null;
  #run = null;
  #isDue = false;
  #ticking = null;

  constructor(actions) {
    this.#actions = actions;
  }

  /** Show a conversation, and the answer that is coming. */
  show(conversation, run) {
    const isOther = conversation !== this.#conversation;
    this.#conversation = conversation;
    this.#run = run;
    const views = new Map();
    for (const message of conversation.messages) {
      if (message.role !== "tool") views.set(message, this.#views.get(message) ?? this.#newView(message));
    }
    this.#views = views;
    this.#list.replaceChildren(...Array.from(views.values(), (view) => view.element));
    byId("welcome").hidden = conversation.messages.length > 0;
    this.#updateAll();
    this.#tickWhile(run);
    if (isOther || run) this.#end.toEnd();
    else this.#end.follow();
  }

  /** The answer that is coming has changed: show it with the next frame. */
  answerChanged(run, isRunning) {
    if (run.conversation !== this.#conversation) return;
    if (!isRunning) {
      this.#run = null;
      this.#tickWhile(null);
      this.#updateAll();
      this.#end.follow();
    } else if (!this.#isDue) {
      this.#isDue = true;
      requestAnimationFrame(() => this.#updateRunning());
    }
  }

  editLastQuestion() {
    const question = this.#conversation.messages.findLast((message) => message.role === "user");
    if (question) this.#views.get(question).edit();
  }

  /** Show the questions that a new conversation may begin with. */
  showSuggestions() {
    const button = (text) => make("button", { type: "button", class: "suggestion", onclick: () => this.#actions.send(text) }, text);
    byId("suggestions").replaceChildren(...SUGGESTIONS.map(button));
  }

  #newView(message) {
    return message.role === "user" ? new QuestionView(message, this.#actions) : new AnswerView(message, this.#actions);
  }

  #updateAll() {
    const last = this.#conversation.messages.at(-1);
    for (const [message, view] of this.#views) {
      view.update(message === this.#run?.message ? this.#run : null, message === last);
    }
  }

  #updateRunning() {
    this.#isDue = false;
    if (!this.#run) return;
    this.#views.get(this.#run.message)?.update(this.#run, true);
    this.#end.follow();
  }

  #tickWhile(run) {
    clearInterval(this.#ticking);
    if (run) this.#ticking = setInterval(() => this.#views.get(run.message)?.tick(run), TICK_MS);
  }
}
