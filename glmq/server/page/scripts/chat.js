// What is done with conversations. Views call it, and it tells a listener what has changed:
// listChanged(), threadChanged(), answerChanged(run), told(text, {undo, isError}).
import { AnswerRun } from "./answer_run.js";
import { newConversation, takeOver } from "./conversation.js";
import { preference, setPreference } from "./preferences.js";

const SAVE_MS = 1000;

/** All conversations, the current one, and the answers that are coming. */
export class Chat {
  conversations = [];
  current = newConversation();
  model = null;
  #store;
  #listener;
  #runs = new Map();
  #saves = new Map();
  #others = globalThis.BroadcastChannel ? new BroadcastChannel("glmq") : null;

  constructor(store, listener) {
    this.#store = store;
    this.#listener = listener;
    this.#others?.addEventListener("message", ({ data }) => this.#reload(data));
  }

  /** Read what the browser keeps, and show the conversation with this id or a new one. */
  async open(id) {
    try {
      this.conversations = await this.#store.open();
    } catch (error) {
      this.#listener.told(error.message, { isError: true });
    }
    for (const conversation of this.conversations) markInterrupted(conversation);
    this.select(this.conversations.find((conversation) => conversation.id === id) ?? this.#fresh());
  }

  /** The run whose answer the conversation waits for. */
  runOf(conversation = this.current) {
    return this.#runs.get(conversation.id);
  }

  /** Kept conversations, the latest first; with a search text, those that hold it. */
  found(search = "") {
    const wanted = search.trim().toLocaleLowerCase();
    return this.conversations
      .filter((conversation) => !wanted || holds(conversation, wanted))
      .sort((a, b) => b.updated - a.updated);
  }

  create() {
    this.select(this.current.messages.length ? this.#fresh() : this.current);
  }

  select(conversation) {
    this.current = conversation;
    this.#listener.listChanged();
    this.#listener.threadChanged();
  }

  rename(conversation, title) {
    conversation.title = title.trim();
    this.#changed(conversation);
  }

  setSettings(settings) {
    this.current.settings = settings;
    setPreference("settings", settings);
    if (this.current.messages.length) this.#changed(this.current);
    this.#listener.threadChanged();
  }

  remove(conversation) {
    this.runOf(conversation)?.stop();
    this.conversations = this.conversations.filter((each) => each !== conversation);
    this.#forget(conversation);
    if (conversation === this.current) this.select(this.#fresh());
    this.#listener.listChanged();
    const undo = () => {
      this.add([conversation]);
      this.select(conversation);
    };
    this.#listener.told("The conversation was deleted.", { undo });
  }

  /** Keep conversations, such as imported ones. */
  add(conversations) {
    for (const conversation of conversations) this.#changed(conversation);
  }

  send(text) {
    this.current.messages.push({ role: "user", content: text });
    this.#answer();
  }

  /** Put another question in place of one; what follows it is cut off. */
  edit(message, text) {
    this.#cut(this.current.messages.indexOf(message), "Your earlier question and its answer were");
    this.send(text);
  }

  /** Ask again for what answers the question before this message. */
  retry(message) {
    const { messages } = this.current;
    let at = messages.indexOf(message);
    const isEmpty = message.role === "assistant" && !message.content && !message.tool_calls && !message.reasoning_content;
    if (message.role === "user") at += 1;
    this.#cut(at, isEmpty ? null : "The earlier answer was");
    this.#answer();
  }

  /** Have an answer go on that was stopped or cut off. */
  resume(message) {
    this.#answer(message);
  }

  /** Give the results of calls, texts by the ids of the calls, and have them answered. */
  giveResults(message, results) {
    for (const call of message.tool_calls) {
      const content = results.get(call.id) ?? "";
      this.current.messages.push({ role: "tool", tool_call_id: call.id, name: call.function.name, content });
    }
    this.#answer();
  }

  stop() {
    this.runOf()?.stop();
  }

  /** The page is being closed: keep what has come of answers. */
  leave() {
    for (const { conversation, message } of this.#runs.values()) {
      message.ended = "interrupted";
      this.#save(conversation);
    }
    this.#runs.clear();
  }

  #fresh() {
    return newConversation(preference("settings", {}));
  }

  /** Cut the messages from a place on; told, and may be undone. */
  #cut(at, what) {
    const conversation = this.current;
    const before = [...conversation.messages];
    const run = this.runOf(conversation);
    if (run) {
      this.#runs.delete(conversation.id);
      run.stop();
    }
    conversation.messages = before.slice(0, at);
    const nCut = before.length - at;
    if (!nCut || !what) return;
    const undo = () => {
      this.runOf(conversation)?.stop();
      this.#runs.delete(conversation.id);
      conversation.messages = before;
      this.#changed(conversation);
      this.select(conversation);
    };
    const rest = nCut > 2 ? `, with all that followed (${nCut} messages)` : "";
    this.#listener.told(`${what} replaced${rest}.`, { undo });
  }

  async #answer(message = { role: "assistant", content: "" }) {
    const conversation = this.current;
    if (!conversation.messages.includes(message)) conversation.messages.push(message);
    const run = new AnswerRun(conversation, message, this.model?.name ?? "glmq");
    this.#runs.set(conversation.id, run);
    this.#changed(conversation);
    this.#listener.threadChanged();
    await run.take(() => {
      if (this.#runs.get(conversation.id) !== run) return;
      this.#saveSoon(conversation);
      this.#listener.answerChanged(run);
    });
    if (this.#runs.get(conversation.id) !== run) return;
    this.#runs.delete(conversation.id);
    this.#changed(conversation);
    this.#listener.answerChanged(run);
  }

  #changed(conversation) {
    conversation.updated = Date.now();
    if (!this.conversations.includes(conversation)) this.conversations.push(conversation);
    this.#save(conversation);
    this.#listener.listChanged();
  }

  #saveSoon(conversation) {
    if (this.#saves.has(conversation.id)) return;
    this.#saves.set(conversation.id, setTimeout(() => this.#save(conversation), SAVE_MS));
  }

  async #save(conversation) {
    clearTimeout(this.#saves.get(conversation.id));
    this.#saves.delete(conversation.id);
    if (!this.conversations.includes(conversation)) return;
    try {
      await this.#store.put(conversation);
      this.#others?.postMessage(conversation.id);
    } catch (error) {
      this.#listener.told(error.message, { isError: true });
    }
  }

  async #forget(conversation) {
    try {
      await this.#store.remove(conversation.id);
      this.#others?.postMessage(conversation.id);
    } catch (error) {
      this.#listener.told(error.message, { isError: true });
    }
  }

  /** Another tab has changed or deleted a conversation. */
  async #reload(id) {
    const read = await this.#store.read(id);
    const run = this.#runs.get(id);
    if (run) {
      if (read && takeOver(run.conversation, read, run.message) && this.current === run.conversation) this.#listener.threadChanged();
      return;
    }
    this.conversations = this.conversations.filter((conversation) => conversation.id !== id);
    if (read) this.conversations.push(read);
    if (read && this.current.id === id) this.select(read);
    else this.#listener.listChanged();
  }
}

/** An answer that was coming when the page was closed will not come any more. */
function markInterrupted(conversation) {
  const last = conversation.messages.at(-1);
  if (last?.role === "assistant" && !last.ended) last.ended = "interrupted";
}

function holds(conversation, text) {
  const texts = [conversation.title, ...conversation.messages.map((message) => message.content)];
  return texts.some((each) => each?.toLocaleLowerCase().includes(text));
}
