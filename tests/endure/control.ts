// A page that asks of the browser what a run that is dropped asks of it, and does nothing with it:
// a lock, a folder with its files and looks at them, its model and text, and buffers of one device.
// What the browser grows by beside it is the browser's own. It has the buttons that `dropRuns`
// presses.

import { BUILT_IN_MODELS, TEXTS } from '../../src/built-in';
import { DEFAULTS } from '../../src/config';
import type { Site } from '../e2e/site';

/** Where the page is. */
export const CONTROL = 'control.html';
const WORKER = 'control-worker.js';
/** As many as a small run has. */
const BUFFERS = 100;
/** How often the run store looks for a run, from its start until it is dropped. */
const LOOKS = 4;
const TEACHER = DEFAULTS.teacher_model as keyof typeof BUILT_IN_MODELS;
/** What a run reads. */
const FILES = [
  ...['config.json', 'tokenizer.json', 'model.safetensors'].map(
    (name) => `models/${TEACHER}/${name}`,
  ),
  TEXTS[BUILT_IN_MODELS[TEACHER].text].file,
];

const PAGE = `<!doctype html><title>Nothing</title><link rel="icon" href="data:,">
<button class="primary">Distil</button><button>Reset</button>
<div class="status-item">GPU memory <summary>0 B</summary><i></i></div>
<script>
const [start, reset] = document.querySelectorAll('button');
const worker = new Worker('${WORKER}');
worker.onmessage = ({ data }) => {
  document.querySelector('i').className = data === 'started' ? 'memory' : '';
  if (data === 'dropped') start.disabled = false;
};
start.onclick = () => { start.disabled = true; worker.postMessage('start'); };
reset.onclick = () => worker.postMessage('drop');
</script>`;

/** Runs in the page's worker. */
function work(buffersOfARun: number, looks: number, files: readonly string[]): void {
  const folderOf = async (name: string) => {
    const top = await navigator.storage.getDirectory();
    const runs = await top.getDirectoryHandle('nothing', { create: true });
    return name === '' ? runs : runs.getDirectoryHandle(name, { create: true });
  };
  const replace = async (folder: FileSystemDirectoryHandle, name: string) => {
    const file = await folder.getFileHandle(`${name}.new`, { create: true });
    const handle = await file.createSyncAccessHandle();
    handle.write(new Uint8Array(1000));
    handle.flush();
    handle.close();
    await (file as FileSystemFileHandle & { move(name: string): Promise<void> }).move(name);
  };
  /** Chromium keeps a little of each such question. */
  const look = async (name: string) => {
    await navigator.locks.query();
    for await (const handle of (await folderOf(name)).values())
      if (handle.kind === 'file') await (await handle.getFile()).text();
  };
  /** A write that nothing follows keeps its buffer. */
  const submitted = async ({ queue }: GPUDevice) => {
    queue.submit([]);
    await queue.onSubmittedWorkDone();
  };
  let device: Promise<GPUDevice> | undefined;
  let runs = 0;
  let drop = async () => {};
  const start = async () => {
    const name = `run-${runs++}`;
    let release = () => {};
    void navigator.locks.request(name, () => new Promise<void>((resolve) => (release = resolve)));
    for (const file of files) await (await fetch(file)).arrayBuffer();
    const folder = await folderOf(name);
    await replace(await folderOf(''), 'index.json');
    const journal = await (
      await folder.getFileHandle('metrics.jsonl', { create: true })
    ).createSyncAccessHandle();
    journal.write(new Uint8Array(1000));
    device ??= (async () => {
      const adapter = (await navigator.gpu.requestAdapter()) as GPUAdapter;
      return adapter.requestDevice();
    })();
    const gpu = await device;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffers = Array.from({ length: buffersOfARun }, () =>
      gpu.createBuffer({ size: 65_536, usage }),
    );
    for (const buffer of buffers) gpu.queue.writeBuffer(buffer, 0, new Float32Array(16));
    await submitted(gpu);
    self.postMessage('started');
    return async () => {
      journal.close();
      for (const buffer of buffers) buffer.destroy();
      await submitted(gpu);
      await replace(folder, 'checkpoint-1.bin');
      await replace(await folderOf(''), 'index.json');
      for (let i = 0; i < looks; i++) await look(name);
      release();
      self.postMessage('dropped');
    };
  };
  let queue = Promise.resolve();
  self.onmessage = ({ data }) => {
    queue = queue.then(async () => {
      if (data === 'start') drop = await start();
      else await drop();
    });
  };
}

/** Has a site of the built page serve it. */
export function serveControl({ files }: Site): void {
  files.set(CONTROL, Buffer.from(PAGE));
  files.set(WORKER, Buffer.from(`(${work})(${BUFFERS}, ${LOOKS}, ${JSON.stringify(FILES)});`));
}
