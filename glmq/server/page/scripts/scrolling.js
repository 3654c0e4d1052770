// The thread follows an answer as long as the user is at its end, and never against the user's scrolling.
import { byId } from "./elements.js";

const NEAR = 48;

/** Keeps the end of an element in sight. */
export class FollowedEnd {
  #area;
  #follows = true;
  #top = 0;

  constructor(area) {
    this.#area = area;
    area.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    area.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#leave(), { passive: true });
    new ResizeObserver(() => this.follow()).observe(area);
    byId("to-end").addEventListener("click", () => this.toEnd());
  }

  /** What is shown has grown. */
  follow() {
    if (this.#follows) this.#jump();
    this.#showButton();
  }

  toEnd() {
    this.#follows = true;
    this.#jump();
    this.#showButton();
  }

  get #distance() {
    return this.#area.scrollHeight - this.#area.clientHeight - this.#area.scrollTop;
  }

  #jump() {
    if (!byId("welcome").hidden) return;
    this.#area.scrollTop = this.#area.scrollHeight;
    this.#top = this.#area.scrollTop;
  }

  #leave() {
    if (this.#distance > 0 || this.#area.scrollTop > 0) this.#follows = false;
  }

  #scrolled() {
    if (this.#area.scrollTop < this.#top) this.#follows = this.#distance < 1;
    else if (this.#distance < NEAR) this.#follows = true;
    this.#top = this.#area.scrollTop;
    this.#showButton();
  }

  #showButton() {
    byId("to-end").hidden = this.#follows || this.#distance < NEAR;
  }
}
