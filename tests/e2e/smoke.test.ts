// The built page opens, from a sub-path too, with nothing wrong and nothing asked of anybody else;
// and its policy holds where somebody tries to break it.

import { expect, test } from 'vitest';
import { eventually } from './drive';
import { openSite, visit } from './harness';

const ELSEWHERE = 'https://example.org';

test.each(['/', '/some/where/'])('the page opens from %s without a problem', async (base) => {
  const site = await openSite({ base });
  const { page, problems, close } = await visit(site);
  await eventually(() => page.getByRole('main').isVisible()).toBe(true);
  await page.waitForLoadState('networkidle');
  expect(await page.title()).toContain('Stillhouse');
  expect(problems).toEqual([]);
  if (base !== '/') {
    await close();
    return;
  }

  // Each attempt ends in how it was refused; what is not refused ends in "done".
  const inPage = await page.evaluate(attacksOnPage, ELSEWHERE);
  expect(inPage).toEqual({
    fetch: 'refused',
    beacon: 'refused',
    socket: 'refused',
    eval: 'refused',
    'inline script': 'refused',
    'inline handler': 'refused',
    'inline style': 'refused',
    'javascript address': 'refused',
    script: 'refused',
    module: 'refused',
    image: 'refused',
    frame: 'refused',
    form: 'refused',
    base: 'refused',
  });
  await eventually(() => page.workers().length).toBe(1);
  const inWorker = await page.workers()[0].evaluate(attacksOnWorker, ELSEWHERE);
  expect(inWorker).toEqual({
    fetch: 'refused',
    socket: 'refused',
    eval: 'refused',
    module: 'refused',
  });
  // `close` throws if any of it was asked for.
  await close();
});

/** Runs in the page. */
async function attacksOnPage(elsewhere: string): Promise<Record<string, string>> {
  /** Of 10 ms each, for what is not refused. */
  const PATIENCE = 3000;
  const page = globalThis as unknown as { attacked?: string };
  const refusals: string[] = [];
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) =>
    refusals.push(effectiveDirective),
  );
  /** Puts an element into the page, and says whether the policy refused what it wants. */
  const put = async (tag: string, set: Record<string, string>, text = '') => {
    const before = refusals.length;
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(set)) element.setAttribute(name, value);
    element.textContent = text;
    document.body.append(element);
    element.click();
    if (element instanceof HTMLFormElement) element.submit();
    for (let i = 0; i < PATIENCE && refusals.length === before; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    const styled =
      tag === 'style' && getComputedStyle(document.body).getPropertyValue('--attacked');
    element.remove();
    return refusals.length === before || page.attacked !== undefined || styled ? 'done' : 'refused';
  };
  const attempt = (work: () => unknown) =>
    Promise.resolve()
      .then(work)
      .then(
        () => 'done',
        () => 'refused',
      );
  const refused = async (work: () => unknown) => {
    const before = refusals.length;
    await attempt(work);
    for (let i = 0; i < PATIENCE && refusals.length === before; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    return refusals.length > before ? 'refused' : 'done';
  };
  return {
    fetch: await attempt(() => fetch(elsewhere)),
    beacon: await refused(() => navigator.sendBeacon(`${elsewhere}/beacon`, 'x')),
    socket: await refused(() => new WebSocket('wss://example.org')),
    // biome-ignore lint/security/noGlobalEval: the attack
    eval: await attempt(() => globalThis.eval('1')),
    'inline script': await put('script', {}, 'globalThis.attacked = "script"'),
    'inline handler': await put('p', { onclick: 'globalThis.attacked = "handler"' }),
    'inline style': await put('style', {}, 'body { --attacked: yes }'),
    'javascript address': await put('a', { href: 'javascript:globalThis.attacked = "address"' }),
    script: await put('script', { src: `${elsewhere}/a.js` }),
    module: await attempt(() => import(/* @vite-ignore */ `${elsewhere}/a.js`)),
    image: await put('img', { src: `${elsewhere}/a.png` }),
    frame: await put('iframe', { src: elsewhere }),
    form: await put('form', { action: elsewhere, method: 'post' }),
    base: await put('base', { href: elsewhere }),
  };
}

/** Runs in the worker. */
async function attacksOnWorker(elsewhere: string): Promise<Record<string, string>> {
  const attempt = (work: () => unknown) =>
    Promise.resolve()
      .then(work)
      .then(
        () => 'done',
        () => 'refused',
      );
  const socket = () =>
    new Promise((resolve, reject) => {
      const opened = new WebSocket('wss://example.org');
      opened.onopen = resolve;
      opened.onerror = reject;
    });
  return {
    fetch: await attempt(() => fetch(elsewhere)),
    socket: await attempt(socket),
    // biome-ignore lint/security/noGlobalEval: the attack
    eval: await attempt(() => globalThis.eval('1')),
    module: await attempt(() => import(/* @vite-ignore */ `${elsewhere}/a.js`)),
  };
}
