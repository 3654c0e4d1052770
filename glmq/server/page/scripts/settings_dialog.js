// The dialogs: settings, the key, and the list of shortcuts.
import { byId, make } from "./elements.js";
import { NUMBERS, parseTools } from "./conversation.js";
import { applyTheme, preference, setPreference } from "./preferences.js";

const EXAMPLE_TOOLS = JSON.stringify(
  [
    {
      name: "get_weather",
      description: "Get the weather in a city.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  ],
  null,
  2,
);

/** Edits the settings of a conversation, and those of this browser. */
export class SettingsDialog {
  #dialog = byId("settings");
  #form = byId("settings-form");
  #save;

  /** save: called with the settings of the conversation. */
  constructor(save) {
    this.#save = save;
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#form.elements.tools.addEventListener("input", () => this.#checkTools());
    byId("example-tools").addEventListener("click", () => this.#insertExample());
    byId("reset-settings").addEventListener("click", () => this.#fill({}));
    for (const button of this.#dialog.querySelectorAll(".cancel")) button.addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => applyTheme(preference("theme", "auto")));
    for (const choice of this.#form.elements.theme) choice.addEventListener("change", () => applyTheme(choice.value));
    byId("numbers").append(...NUMBERS.map(numberField));
  }

  /** Open it with a conversation's settings. recommended: the model's own. */
  open(settings, recommended, canSwitchThinking) {
    for (const { name, otherwise } of NUMBERS) this.#form.elements[name].placeholder = placeholder(recommended[name], otherwise);
    byId("thinking-fields").hidden = !canSwitchThinking;
    this.#form.elements.thinking_budget_tokens.closest("label").hidden = !canSwitchThinking;
    this.#fill(settings);
    this.#form.elements.theme.value = preference("theme", "auto");
    this.#form.elements.openThinking.checked = preference("openThinking", false);
    this.#form.elements.key.value = preference("key", "") ?? "";
    this.#dialog.showModal();
  }

  #fill(settings) {
    const { elements } = this.#form;
    elements.system.value = settings.system ?? "";
    elements.thinking.value = { true: "on", false: "off" }[settings.thinking] ?? "default";
    for (const { name } of NUMBERS) elements[name].value = settings[name] ?? "";
    elements.stop.value = (settings.stop ?? []).join("\n");
    elements.tools.value = settings.tools ?? "";
    this.#checkTools();
  }

  #checkTools() {
    const area = this.#form.elements.tools;
    let problem = "";
    try {
      parseTools(area.value);
    } catch (error) {
      problem = error.message;
    }
    area.setCustomValidity(problem);
    area.setAttribute("aria-invalid", Boolean(problem));
    byId("tools-problem").textContent = problem;
  }

  #insertExample() {
    this.#form.elements.tools.value = EXAMPLE_TOOLS;
    this.#checkTools();
  }

  #submit(event) {
    event.preventDefault();
    const { elements } = this.#form;
    setPreference("theme", elements.theme.value);
    setPreference("openThinking", elements.openThinking.checked);
    setPreference("key", elements.key.value.trim() || null);
    this.#save(this.#read(elements));
    this.#dialog.close();
  }

  #read(elements) {
    const settings = {};
    if (elements.system.value.trim()) settings.system = elements.system.value;
    if (elements.thinking.value !== "default") settings.thinking = elements.thinking.value === "on";
    for (const { name } of NUMBERS) if (elements[name].value !== "") settings[name] = elements[name].valueAsNumber;
    const stop = elements.stop.value.split("\n").filter((line) => line);
    if (stop.length) settings.stop = stop;
    if (elements.tools.value.trim()) settings.tools = elements.tools.value;
    return settings;
  }
}

function placeholder(recommended, otherwise = "as recommended") {
  return recommended == null ? otherwise : String(recommended);
}

function numberField({ name, label, min, max, step }) {
  const input = make("input", { type: "number", name, min, max, step: step === 1 ? 1 : "any", inputmode: step === 1 ? "numeric" : "decimal" });
  return make("label", { class: "field" }, make("span", {}, label), input);
}

/** Ask for the key. Gives whether one was entered. */
export function askForKey() {
  const dialog = byId("key-dialog");
  const form = byId("key-form");
  if (dialog.open) return Promise.resolve(false);
  form.elements.key.value = preference("key", "") ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "enter" && keepKey(form.elements.key.value)), { once: true });
  });
}

function keepKey(key) {
  setPreference("key", key.trim() || null);
  return Boolean(key.trim());
}
