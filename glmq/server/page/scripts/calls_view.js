// The tool calls of an answer, their results, and a form for results that are still to come.
import { icon, make } from "./elements.js";

/** Shows calls. actions: resultsOf(message), giveResults(message, results). */
export class CallsView {
  #message;
  #actions;
  #shown = "";
  #areas = new Map();

  constructor(message, actions) {
    this.#message = message;
    this.#actions = actions;
    this.element = make("div", { class: "calls" });
  }

  /** Show calls as they are now. isLast: nothing follows the message, so that results can be given. */
  update(isRunning, isLast) {
    const calls = this.#message.tool_calls ?? [];
    const results = this.#actions.resultsOf(this.#message);
    const asks = isLast && !isRunning && calls.length > 0 && results.size < calls.length;
    const state = JSON.stringify([calls, [...results.values()].map((result) => result.content), asks]);
    if (state === this.#shown) return;
    this.#shown = state;
    this.#areas.clear();
    this.element.replaceChildren(...calls.map((call) => this.#card(call, results.get(call.id), isRunning, asks)));
    if (asks) this.element.append(this.#sendRow());
  }

  #card(call, result, isRunning, asks) {
    const { name, arguments: text } = call.function;
    const parts = [
      make("div", { class: "call-head" }, icon("tool"), make("span", {}, "Calls "), make("code", {}, name)),
      make("pre", { class: "call-arguments", tabindex: 0, role: "group", "aria-label": `Arguments of ${name}` }, isRunning ? text : pretty(text)),
    ];
    if (result) {
      parts.push(make("div", { class: "call-label" }, "Result"));
      parts.push(make("pre", { tabindex: 0, role: "group", dir: "auto", "aria-label": `Result of ${name}` }, pretty(result.content)));
    } else if (asks) parts.push(this.#resultField(call));
    return make("section", { class: "call", "aria-label": `Tool call ${name}` }, ...parts);
  }

  #resultField(call) {
    const area = make("textarea", { rows: 2, dir: "auto", placeholder: "What the tool gives, as text or JSON" });
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#send();
    });
    this.#areas.set(call.id, area);
    return make("label", { class: "field" }, make("span", {}, `Result of ${call.function.name}`), area);
  }

  #sendRow() {
    const what = this.#areas.size === 1 ? "Send result" : "Send results";
    return make(
      "div",
      { class: "buttons" },
      make("span", { class: "hint" }, "The page runs no tools: type in what they give."),
      make("button", { type: "button", class: "button primary", onclick: () => this.#send() }, what),
    );
  }

  #send() {
    const results = new Map(Array.from(this.#areas, ([id, area]) => [id, area.value]));
    this.#actions.giveResults(this.#message, results);
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
