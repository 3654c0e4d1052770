// A question of the user, which can be edited.
import { copyButton, iconButton, make } from "./elements.js";

/** Shows a question. actions: edit(message, text), countAfter(message). */
export class QuestionView {
  #message;
  #actions;

  constructor(message, actions) {
    this.#message = message;
    this.#actions = actions;
    this.element = make("article", { class: "question", "aria-label": "Your question" });
    this.#show();
  }

  update() {}

  /** Turn the question into a form. */
  edit() {
    const area = make("textarea", { rows: 1, dir: "auto", "aria-label": "Edit your question", onkeydown: (event) => this.#keyed(event, area) });
    const nAfter = this.#actions.countAfter(this.#message);
    area.value = this.#message.content;
    const hint = nAfter ? `Sending replaces ${nAfter === 1 ? "the message" : `the ${nAfter} messages`} after it.` : "";
    const buttons = make(
      "div",
      { class: "buttons" },
      make("span", { class: "hint" }, hint),
      make("button", { type: "button", class: "button", onclick: () => this.#show(true) }, "Cancel"),
      make("button", { type: "button", class: "button primary", onclick: () => this.#send(area.value) }, "Send"),
    );
    this.element.replaceChildren(make("div", { class: "editor" }, area, buttons));
    area.focus();
  }

  #keyed(event, area) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) this.#send(area.value);
    else if (event.key === "Escape") this.#show(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #send(text) {
    if (text.trim()) this.#actions.edit(this.#message, text);
  }

  #show(focuses = false) {
    const editButton = iconButton("edit", "Edit", () => this.edit());
    this.element.replaceChildren(
      make("div", { class: "bubble", dir: "auto" }, this.#message.content),
      make("div", { class: "actions" }, editButton, copyButton("Copy question", () => this.#message.content)),
    );
    if (focuses) editButton.focus();
  }
}
