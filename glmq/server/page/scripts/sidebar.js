// The list of conversations, with search; a drawer on narrow screens.
import { byId, iconButton, make } from "./elements.js";
import { titleOf } from "./conversation.js";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Shows the conversations of a chat. actions: select(conversation), remove(conversation). */
export class Sidebar {
  #chat;
  #actions;
  #narrow = matchMedia("(max-width: 760px)");

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    byId("search").addEventListener("input", () => this.update());
    byId("open-sidebar").addEventListener("click", () => this.toggle(true));
    byId("close-sidebar").addEventListener("click", () => this.toggle(false));
    byId("shade").addEventListener("click", () => this.toggle(false));
    this.#narrow.addEventListener("change", () => this.toggle(false));
    this.toggle(false);
  }

  get isOpen() {
    return document.body.classList.contains("sidebar-open");
  }

  /** Open or close the drawer; where there is room the list is always there. */
  toggle(opens) {
    const isDrawer = this.#narrow.matches;
    const wasOpen = this.isOpen;
    document.body.classList.toggle("sidebar-open", isDrawer && opens);
    byId("sidebar").inert = isDrawer && !opens;
    byId("main").inert = isDrawer && opens;
    byId("open-sidebar").setAttribute("aria-expanded", isDrawer && opens);
    if (isDrawer && opens) byId("new").focus();
    else if (isDrawer && wasOpen) byId("open-sidebar").focus();
  }

  update() {
    const search = byId("search").value;
    const found = this.#chat.found(search);
    const groups = new Map();
    for (const conversation of found) {
      const group = groupOf(conversation.updated);
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(this.#row(conversation));
    }
    const lists = Array.from(groups, ([name, rows]) => make("section", {}, make("h2", {}, name), make("ul", {}, ...rows)));
    const none = search ? "No conversation holds these words." : "Your conversations will be kept here, in this browser.";
    const focused = document.activeElement?.closest("#conversations li")?.dataset.id;
    byId("conversations").replaceChildren(...(found.length ? lists : [make("p", { class: "hint" }, none)]));
    if (focused) byId("conversations").querySelector(`[data-id="${focused}"] button`)?.focus();
  }

  #row(conversation) {
    const isCurrent = conversation === this.#chat.current;
    const title = titleOf(conversation);
    const select = () => {
      this.#actions.select(conversation);
      this.toggle(false);
    };
    const mark = this.#chat.runOf(conversation) && make("span", { class: "live-mark", role: "img", "aria-label": "is being answered" });
    return make(
      "li",
      { "data-id": conversation.id, class: isCurrent && "current" },
      make("button", { type: "button", class: "select", dir: "auto", title, "aria-current": isCurrent && "page", onclick: select }, make("span", {}, title), mark),
      iconButton("trash", `Delete “${title}”`, () => this.#actions.remove(conversation)),
    );
  }
}

function groupOf(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  if (time >= today - DAY_MS) return "Yesterday";
  return time >= today - 7 * DAY_MS ? "Last seven days" : "Earlier";
}
