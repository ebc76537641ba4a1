import { chromium } from 'playwright-core';
import { mkdtemp, rm, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
const dist = process.argv[2], profileIt = process.argv.includes('--profile');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.wasm': 'application/wasm' };
const server = createServer(async (q, r) => { const p = new URL(q.url, 'http://x').pathname; const b = await readFile(join(dist, p === '/' ? 'index.html' : p)).catch(() => null); r.writeHead(b ? 200 : 404, { 'content-type': TYPES[extname(p) || '.html'] ?? 'application/octet-stream' }); r.end(b ?? ''); }).listen(0);
await new Promise((r) => server.once('listening', r));
const url = `http://127.0.0.1:${server.address().port}/`;
const profile = await mkdtemp('/tmp/ew/tab-');
const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'], viewport: { width: 1440, height: 900 } });
const src = await readFile(new URL('./tests/bench/keeping.mjs', import.meta.url), 'utf8');
const makeRuns = src.slice(src.indexOf('async function makeRuns'), src.indexOf('const median ='));
const page = await browser.newPage(); await page.goto(url);
await page.evaluate(`(${makeRuns})(500)`);
await page.goto(`${url}?index#runs`); await page.locator('.runs tbody tr').first().waitFor();
const s = await page.context().newCDPSession(page);
await s.send('Performance.enable', { timeDomain: 'threadTicks' });
const busy = async () => 1000 * (await s.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value;
for (const count of [20, 50]) {
  const walls = [], own = [];
  for (let i = 0; i < 5; i++) {
    await page.goto(`${url}?${count}x${i}`); await page.waitForTimeout(3000);
    const b = await busy();
    walls.push(await page.evaluate(async (n) => { const t = performance.now(); location.hash = '#runs'; while (document.querySelectorAll('.runs tbody tr').length < n) await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame); return performance.now() - t; }, count));
    own.push(await busy() - b);
  }
  const med = (v) => [...v].sort((a, b) => a - b)[v.length >> 1].toFixed(0);
  console.log(count, 'rows: wall', med(walls), 'main', med(own), walls.map((x) => x.toFixed(0)).join());
}
if (profileIt) {
  await s.send('Profiler.enable'); await s.send('Profiler.setSamplingInterval', { interval: 200 });
  await page.goto(`${url}?p`); await page.waitForTimeout(3000);
  await s.send('Profiler.start');
  await page.evaluate(async () => { location.hash = '#runs'; while (document.querySelectorAll('.runs tbody tr').length < 50) await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame); });
  const { profile: pr } = await s.send('Profiler.stop');
  const self = new Map(); const by = new Map(pr.nodes.map((n) => [n.id, n]));
  pr.samples.forEach((id, i) => { const f = by.get(id).callFrame; const k = f.functionName + ' ' + f.url.split('/').pop() + ':' + f.lineNumber + ':' + f.columnNumber; self.set(k, (self.get(k) ?? 0) + pr.timeDeltas[i] / 1000); });
  console.log([...self].sort((a, b) => b[1] - a[1]).slice(0, 30).map(([k, v]) => v.toFixed(1) + ' ' + k).join('\n'));
}
await browser.close(); server.close(); await rm(profile, { recursive: true, force: true });
