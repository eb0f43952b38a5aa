// The head of the page: the name, the studio's pulse, and the one component whose server functions every room uses.
import { comeBack, connect, h, mountStatus } from "./studio.js";

export function mount(element, { server }) {
  const status = h("div", { id: "status" });
  element.replaceChildren(h("header", { id: "masthead" }, h("h1", h("span.mark"), "Latent Studio"), status));
  mountStatus(status);
  connect(server);
  comeBack(/^#(run|job)=/.test(location.hash) && "train");
}
