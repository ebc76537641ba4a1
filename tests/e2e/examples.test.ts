// The examples gallery in the built page: every card has a picture and opens without starting
// anything. And the pictures, which SCREENSHOT=1 makes anew, and SCREENSHOT=NAME,… those alone.

import { writeFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { EXAMPLES } from '../../src/app/examples/examples';
import { roomOf } from '../../src/app/shared/rooms';
import { formatLink } from '../../src/link';
import { PRESETS } from '../../src/presets';
import { expectAccessible, LOOKS, look } from './accessible';
import { eventually, FINISHED, go, offered, primary } from './drive';
import { openSite, sharedVisit, visit } from './harness';

const ALL = EXAMPLES.flatMap(({ examples }) => examples);
const shared = sharedVisit({ offer: 'no-webgpu', path: '#examples' });

test('every card has its picture', async () => {
  const { page, problems } = shared;
  const pictures = page.locator('.cards img');
  await eventually(() => pictures.count()).toBe(ALL.length);
  for (const [i, { name }] of ALL.entries()) {
    await pictures.nth(i).scrollIntoViewIfNeeded();
    const width = () =>
      pictures.nth(i).evaluate((image) => (image as HTMLImageElement).naturalWidth);
    await eventually(width, name).toBe(400);
  }
  expect(problems).toEqual([]);
});

test('every card opens what it says, and starts nothing', async () => {
  const { page, site, problems } = shared;
  for (const [i, { title, hash }] of ALL.entries()) {
    await go(page, '#examples');
    await page.locator('.cards a').nth(i).click();
    await eventually(() => page.locator('.examples').count(), title).toBe(0);
    expect(await page.evaluate(() => location.hash)).toBe(hash);
    await page.locator('main').waitFor();
    await eventually(() => page.getByText('cannot be opened').count(), title).toBe(0);
  }
  expect(site.requests.filter((path) => /^(models|corpus)\//.test(path))).toEqual([]);
  expect(problems).toEqual([]);
});

test.each(LOOKS)('accessible, nothing scrolls sideways: $colorScheme', async (each) => {
  const { page } = shared;
  await look(page, each);
  await go(page, '#examples');
  await page.locator('.cards').first().waitFor();
  await expectAccessible(page);
});

/** What of a room its picture shows. */
const PICTURED = {
  distil: '.curves .figure',
  lessons: '.distillation .column.middle',
  strideLab: '.strides .column.middle',
  bugLab: '.bug main',
  runs: 'main',
  examples: '.examples main',
};
/** Pixels of a picture, and how many of the page's stand in one of its. */
const [WIDTH, HEIGHT] = [400, 250];
const SCALE = 1.75;
const QUALITY = 0.75;

const RECORDED = new Set(
  PRESETS.filter(({ recording }) => recording).map(({ config }) => `#${formatLink(config)}`),
);

const renewed = (process.env.SCREENSHOT ?? '').split(',');
const wanted = ALL.filter(({ name }) => renewed.includes('1') || renewed.includes(name));
if (wanted.length > 0) {
  test('the pictures are made anew', { timeout: 30 * 60_000 }, async () => {
    const site = await openSite({ wholeBook: true });
    for (const { name, hash } of wanted) {
      const { page, close } = await visit(site, { offer: 'f16', path: hash });
      const { room } = roomOf(hash);
      if (room === 'distil') {
        await offered(page, 'Distil');
        // A preset has a recorded run already.
        if (RECORDED.has(hash)) {
          await page.waitForLoadState('networkidle');
          // A card shows what a run will look like.
          await page.locator('.recorded').evaluateAll((all) => {
            for (const { classList } of all) classList.remove('recorded');
          });
        } else {
          await primary(page).click();
          await offered(page, FINISHED);
        }
        await page.mouse.move(0, 0);
      }
      await page.locator(PICTURED[room]).first().waitFor();
      // What is drawn after the first paint: fonts, charts.
      await page.waitForTimeout(500);
      await writeFile(`public/examples/${name}.webp`, await picture(page, PICTURED[room]));
      await close();
    }
  });
}

/** The upper left of what a selector finds, as a small WebP: the browser itself makes it. */
async function picture(page: Page, selector: string): Promise<Buffer> {
  const box = (await page.locator(selector).first().boundingBox())!;
  const clip = { x: box.x, y: box.y, width: WIDTH * SCALE, height: HEIGHT * SCALE };
  const png = (await page.screenshot({ clip })).toString('base64');
  const webp = await page.evaluate(
    async ({ png, width, height, quality }) => {
      const image = await createImageBitmap(
        new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]),
        { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' },
      );
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext('2d')!.drawImage(image, 0, 0);
      const blob = await canvas.convertToBlob({ type: 'image/webp', quality });
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return btoa(String.fromCharCode(...bytes));
    },
    { png, width: WIDTH, height: HEIGHT, quality: QUALITY },
  );
  return Buffer.from(webp, 'base64');
}
