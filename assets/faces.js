// Small pictures of places beside the one that is played. They follow it once it rests: a few at a time, never two rounds at once.
import { sheet } from "./map.js";
import { toUrl } from "./studio.js";

const NOTHING_YET = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";

/** What an image shows until its picture comes. */
export const nothingYet = { src: NOTHING_YET, alt: "" };

/** `wanted()` answers [{point, image}]: which place each image is to show, `size` pixels wide. `refresh()` draws them. */
export class Faces {
  constructor(player, size, wanted) {
    Object.assign(this, { player, size, wanted, again: false, drawing: false });
  }

  async refresh() {
    this.again = true;
    if (this.drawing) return;
    this.drawing = true;
    while (this.again && !this.player.drifting) {
      this.again = false;
      await this.draw(this.wanted());
    }
    this.drawing = false;
  }

  async draw(faces) {
    const some = this.player.atOnce();
    for (let first = 0; first < faces.length && !this.again; first += some) {
      const now = faces.slice(first, first + some);
      const pictures = await sheet({ model: this.player.drawn, point: {} }, now.map(({ point }) => point), this.size);
      if (!pictures) return;
      now.forEach(({ image }, index) => { image.src = toUrl(pictures[index]); });
    }
  }
}
