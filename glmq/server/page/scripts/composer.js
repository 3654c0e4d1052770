// The box in which questions are written.
import { byId } from "./elements.js";

/** actions: send(text), stop(), editLastQuestion(), setThinking(thinks). */
export class Composer {
  #area = byId("question");
  #actions;
  #isRunning = false;
  #drafts = new WeakMap();
  #conversation = null;

  constructor(actions) {
    this.#actions = actions;
    this.#area.addEventListener("keydown", (event) => this.#keyed(event));
    this.#area.addEventListener("input", () => this.#showButtons());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("stop").addEventListener("click", () => actions.stop());
    byId("think").addEventListener("click", () => actions.setThinking(byId("think").getAttribute("aria-pressed") !== "true"));
  }

  /** Show the state of a conversation; what was being written in it comes back. */
  update(conversation, isRunning, canThink) {
    if (conversation !== this.#conversation) {
      if (this.#conversation) this.#drafts.set(this.#conversation, this.#area.value);
      this.#area.value = this.#drafts.get(conversation) ?? "";
      this.#conversation = conversation;
    }
    const stopHadFocus = document.activeElement === byId("stop");
    this.#isRunning = isRunning;
    byId("stop").hidden = !isRunning;
    byId("send").hidden = isRunning;
    byId("think").hidden = !canThink;
    byId("think").setAttribute("aria-pressed", conversation.settings.thinking !== false);
    this.#showButtons();
    if (stopHadFocus && !isRunning) this.#area.focus();
  }

  focus() {
    this.#area.focus();
  }

  #showButtons() {
    byId("send").disabled = !this.#area.value.trim();
  }

  #keyed(event) {
    if (event.isComposing) return;
    const isEmpty = !this.#area.value;
    if (event.key === "Enter" && !event.shiftKey) this.#send();
    else if (event.key === "ArrowUp" && isEmpty && !this.#isRunning) this.#actions.editLastQuestion();
    else return;
    event.preventDefault();
  }

  #send() {
    const text = this.#area.value;
    if (!text.trim() || this.#isRunning) return;
    this.#area.value = "";
    this.#showButtons();
    this.#actions.send(text);
  }
}
