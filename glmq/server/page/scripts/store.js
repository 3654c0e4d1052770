// Conversations in the browser's database (IndexedDB).

const DATABASE = "glmq";
const CONVERSATIONS = "conversations";

/** Keeps conversations. All methods raise Error in words for the user. */
export class Store {
  #database = null;

  /** All conversations that are kept. */
  async open() {
    if (!globalThis.indexedDB) throw new Error(notKept("The browser has no database for this page"));
    try {
      const opening = indexedDB.open(DATABASE, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(CONVERSATIONS, { keyPath: "id" });
      this.#database = await done(opening);
    } catch (error) {
      throw new Error(notKept(`The browser's database cannot be opened (${error.message})`));
    }
    return done(this.#database.transaction(CONVERSATIONS).objectStore(CONVERSATIONS).getAll());
  }

  /** The conversation with this id, undefined where there is none. */
  async read(id) {
    return this.#database ? done(this.#database.transaction(CONVERSATIONS).objectStore(CONVERSATIONS).get(id)) : undefined;
  }

  async put(conversation) {
    await this.#change((conversations) => conversations.put(conversation));
  }

  async remove(id) {
    await this.#change((conversations) => conversations.delete(id));
  }

  async #change(change) {
    if (!this.#database) return;
    try {
      const transaction = this.#database.transaction(CONVERSATIONS, "readwrite");
      change(transaction.objectStore(CONVERSATIONS));
      transaction.commit(); // without waiting, as the page may be about to close
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
    } catch (error) {
      throw new Error(wordsOf(error));
    }
  }
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds it"));
  });
}

function wordsOf(error) {
  if (error?.name === "QuotaExceededError") {
    return "The browser has no more room for conversations. Export and delete some; what is new is not kept.";
  }
  return notKept(`The browser cannot write to its database (${error?.message ?? "unknown reason"})`);
}

function notKept(reason) {
  return `${reason}; conversations are lost when the page is closed.`;
}
