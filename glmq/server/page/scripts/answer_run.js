// One answer while it comes: the stream's chunks are put into the assistant's message.
import { requestBody } from "./conversation.js";
import { ServerError, streamChat } from "./server.js";

/** An answer of the server. phase: waiting, reading (the prompt), thinking, writing, calling. */
export class AnswerRun {
  #abort = new AbortController();
  #thinkingSince = null;

  constructor(conversation, message, model) {
    Object.assign(this, { conversation, message, model, phase: "waiting", progress: null });
  }

  stop() {
    this.#abort.abort();
  }

  /** Seconds of thinking so far, or null. */
  get thinkingSeconds() {
    if (this.#thinkingSince === null) return this.message.thinkingSeconds ?? null;
    return (this.message.thinkingSeconds ?? 0) + (performance.now() - this.#thinkingSince) / 1000;
  }

  /** Take the whole answer; `changed` is called behind each chunk. Errors end up in the message. */
  async take(changed) {
    const { message, conversation } = this;
    const resumes = Boolean(message.content);
    delete message.error;
    delete message.ended;
    try {
      const body = requestBody(conversation, this.model, resumes);
      for await (const chunk of streamChat(body, this.#abort.signal)) {
        this.#takeChunk(chunk);
        changed();
      }
      message.ended ??= "stop";
    } catch (error) {
      this.#fail(error);
    }
    this.#endThinking();
    changed();
  }

  #fail(error) {
    this.message.ended = "stopped";
    if (error.name === "AbortError") return;
    this.message.ended = "error";
    const { message, status, code, retryAfter } = error;
    this.message.error = { message, status, code, retryAfter };
    if (!(error instanceof ServerError)) console.error(error);
  }

  #takeChunk(chunk) {
    if (chunk.prompt_progress) this.#takeProgress(chunk.prompt_progress);
    if (chunk.usage) this.message.usage = chunk.usage;
    if (chunk.timings) this.message.timings = chunk.timings;
    for (const choice of chunk.choices ?? []) {
      this.#takeDelta(choice.delta ?? {});
      if (choice.finish_reason) this.message.ended = choice.finish_reason;
    }
  }

  #takeProgress({ processed, total }) {
    this.phase = "reading";
    this.progress = { processed, total };
  }

  #takeDelta({ reasoning_content, content, tool_calls }) {
    const { message } = this;
    if (reasoning_content) {
      this.phase = "thinking";
      this.#thinkingSince ??= performance.now();
      message.reasoning_content = (message.reasoning_content ?? "") + reasoning_content;
    }
    if (content) {
      this.#endThinking();
      this.phase = "writing";
      message.content += content;
    }
    for (const part of tool_calls ?? []) this.#takeCall(part);
  }

  #takeCall({ index, id, function: { name, arguments: text } = {} }) {
    this.#endThinking();
    this.phase = "calling";
    const calls = (this.message.tool_calls ??= []);
    const call = (calls[index] ??= { id, type: "function", function: { name: "", arguments: "" } });
    if (id) call.id = id;
    if (name) call.function.name = name;
    if (text) call.function.arguments += text;
  }

  #endThinking() {
    if (this.#thinkingSince === null) return;
    this.message.thinkingSeconds = this.thinkingSeconds;
    this.#thinkingSince = null;
  }
}
