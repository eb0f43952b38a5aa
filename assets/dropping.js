// Files and folders that are dropped on the page.

/** Every file below what was dropped, as {file, path}. It must be asked for before the event is over. */
export async function filesDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = entries.length ? [] : [...transfer.files].map((file) => ({ file, path: file.name }));
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry, above, found) {
  const path = above + entry.name;
  if (entry.isFile) {
    found.push({ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const child of some) await walk(child, `${path}/`, found);
  }
}

/** The files of an input, as {file, path}. */
export const filesChosen = (input) => [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
