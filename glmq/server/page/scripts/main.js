// The page: its parts, put together.
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { resultsOf, titleOf } from "./conversation.js";
import { byId } from "./elements.js";
import { announce, tell } from "./notices.js";
import { applyTheme, preference, setPreference } from "./preferences.js";
import { fetchModel } from "./server.js";
import { askForKey, SettingsDialog } from "./settings_dialog.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { ThreadView } from "./thread_view.js";
import { conversationsIn, download, fileName, jsonOf, jsonOfAll, markdownOf } from "./transfer.js";
import { counted } from "./words.js";

const THEMES = ["auto", "light", "dark"];

const chat = new Chat(new Store(), {
  listChanged: () => sidebar.update(),
  threadChanged: showThread,
  answerChanged: (run) => {
    const isRunning = chat.runOf(run.conversation) === run;
    thread.answerChanged(run, isRunning);
    if (!isRunning) showState();
  },
  told: tell,
});

const actions = {
  send: (text) => chat.send(text),
  stop,
  edit: (message, text) => {
    chat.edit(message, text);
    composer.focus();
  },
  retry: (message) => chat.retry(message),
  resume: (message) => chat.resume(message),
  create,
  select: (conversation) => chat.select(conversation),
  remove: (conversation) => chat.remove(conversation),
  giveResults: (message, results) => chat.giveResults(message, results),
  resultsOf: (message) => resultsOf(chat.current, message),
  countAfter: (message) => chat.current.messages.length - 1 - chat.current.messages.indexOf(message),
  nContext: () => chat.model?.nContext ?? 0,
  askKey: async (message) => {
    if (await askForKey()) connect().then(() => chat.retry(message));
  },
  editLastQuestion: () => thread.editLastQuestion(),
  setThinking: (thinks) => {
    const { thinking, ...rest } = chat.current.settings;
    chat.setSettings(thinks ? rest : { ...rest, thinking: false });
  },
};

const thread = new ThreadView(actions);
const sidebar = new Sidebar(chat, actions);
const composer = new Composer(actions);
const settings = new SettingsDialog((changed) => {
  chat.setSettings(changed);
  if (!chat.model) connect();
});

function create() {
  chat.create();
  sidebar.toggle(false);
  composer.focus();
}

function stop() {
  if (!chat.runOf()) return;
  chat.stop();
  announce("Stopped.");
}

function showThread() {
  const { current } = chat;
  location.replace(current.messages.length ? `#${current.id}` : "#");
  thread.show(current, chat.runOf());
  showState();
}

/** Show all that depends on the conversation beside its messages. */
function showState() {
  const { current } = chat;
  composer.update(current, Boolean(chat.runOf()), chat.model?.canSwitchThinking);
  byId("title").textContent = titleOf(current);
  byId("menu-button").hidden = !current.messages.length;
  document.title = current.messages.length ? `${titleOf(current)} · glmq` : "glmq";
  showContext(current.messages.findLast((message) => message.usage)?.usage);
}

function showContext(usage) {
  const nContext = chat.model?.nContext;
  byId("context").hidden = !usage || !nContext;
  if (byId("context").hidden) return;
  const used = usage.prompt_tokens + usage.completion_tokens;
  const percent = Math.min(100, Math.round((used / nContext) * 100));
  byId("context").classList.toggle("full", percent >= 85);
  byId("context-bar").style.width = `${percent}%`;
  byId("context-words").textContent = `${counted(used)} of ${counted(nContext)} tokens`;
}

/** Ask the server for its model; again with a key where it wants one. */
async function connect() {
  byId("offline").hidden = true;
  try {
    chat.model = await fetchModel();
    byId("model").textContent = chat.model.name;
    byId("welcome-model").textContent = chat.model.name;
    showState();
  } catch (error) {
    if (error.status === 401 && (await askForKey())) return connect();
    byId("offline").hidden = false;
    byId("offline-words").textContent = error.message;
  }
}

function rename() {
  const title = byId("title");
  const input = byId("title-input");
  const { current } = chat;
  const end = (keeps) => {
    if (input.hidden) return;
    input.hidden = true;
    title.hidden = false;
    if (keeps) chat.rename(current, input.value);
    showState();
    byId("menu-button").focus();
  };
  title.hidden = true;
  input.hidden = false;
  input.value = titleOf(current);
  input.select();
  input.onblur = () => end(true);
  input.onkeydown = (event) => {
    if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
    event.stopPropagation();
    end(event.key === "Enter");
  };
}

async function importFiles(files) {
  for (const file of files) {
    try {
      const read = conversationsIn(await file.text(), file.name);
      chat.add(read);
      if (read.length) chat.select(read[0]);
      tell(`Imported ${read.length === 1 ? "a conversation" : `${read.length} conversations`} from ${file.name}.`);
    } catch (error) {
      tell(error.message, { isError: true });
    }
  }
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(preference("theme", "auto")) + 1) % THEMES.length];
  setPreference("theme", theme);
  showTheme();
  announce(byId("theme").title);
}

function showTheme() {
  const theme = preference("theme", "auto");
  applyTheme(theme);
  byId("theme").title = { auto: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" }[theme];
  byId("theme").setAttribute("aria-label", byId("theme").title);
  byId("theme").dataset.theme = theme;
}

const openSettings = () => settings.open(chat.current.settings, chat.model?.recommended ?? {}, chat.model?.canSwitchThinking);
const openShortcuts = () => byId("shortcuts").showModal();
const search = () => {
  sidebar.toggle(true);
  byId("search").focus();
};

const BUTTONS = {
  new: create,
  "open-settings": openSettings,
  "open-shortcuts": openShortcuts,
  "close-shortcuts": () => byId("shortcuts").close(),
  "cancel-key": () => byId("key-dialog").close(),
  theme: nextTheme,
  reconnect: connect,
  rename,
  "export-markdown": () => download(fileName(chat.current, "md"), markdownOf(chat.current), "text/markdown"),
  "export-json": () => download(fileName(chat.current, "json"), jsonOf(chat.current), "application/json"),
  "export-all": () => download("glmq-conversations.json", jsonOfAll(chat.found()), "application/json"),
  import: () => byId("import-files").click(),
  delete: () => chat.remove(chat.current),
};

/** Shortcuts with Ctrl or Cmd, by key; capitals are with Shift. */
const SHORTCUTS = { k: search, O: create, ",": openSettings, "/": openShortcuts };

function keyed(event) {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (sidebar.isOpen) sidebar.toggle(false);
    else stop();
    return;
  }
  const isTyping = event.target.matches("input, textarea, select");
  const action = event.ctrlKey || event.metaKey ? SHORTCUTS[event.key] : event.key === "/" && !isTyping && !event.altKey && composer.focus.bind(composer);
  if (!action) return;
  event.preventDefault();
  action();
}

/** Put the menu below its button; pages cannot rely on anchors yet. */
function placeMenu() {
  const { bottom, right } = byId("menu-button").getBoundingClientRect();
  byId("menu").style.top = `${bottom + 6}px`;
  byId("menu").style.left = `${Math.max(8, right - byId("menu").offsetWidth)}px`;
}

async function start() {
  showTheme();
  for (const [id, action] of Object.entries(BUTTONS)) byId(id).addEventListener("click", action);
  for (const button of byId("menu").children) button.addEventListener("click", () => byId("menu").hidePopover());
  byId("menu").addEventListener("toggle", placeMenu);
  byId("import-files").addEventListener("change", async ({ target }) => {
    await importFiles(target.files);
    target.value = "";
  });
  document.addEventListener("keydown", keyed);
  addEventListener("pagehide", () => chat.leave());
  thread.showSuggestions();
  await chat.open(location.hash.slice(1));
  composer.focus();
  await connect();
}

start();
