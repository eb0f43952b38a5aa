// Waiting for a job of the studio.
import { call, StudioFailure } from "./studio.js";

const EVERY_MILLISECONDS = 250;

/** Wait until a job has ended, telling how far it is; answers its result, or nothing if it was cancelled; throws its failure. */
export async function outcome(id, tell) {
  for (;;) {
    const status = await call("job", { id });
    if (status.state === "failed") throw new StudioFailure(status);
    if (status.state === "done") return status.result;
    if (status.state === "cancelled") return undefined;
    tell(status);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MILLISECONDS));
  }
}
