// The ground that gpu tests stand on: the driver asked for is the driver used, and WebGPU's errors
// are heard.

import { expect, test } from 'vitest';
import { openTestDevice, takeErrors } from './harness';

test('the adapter is the one that the run asked for', async () => {
  const { adapter, device } = await openTestDevice();
  const asked = process.env.ADAPTER;
  expect(['f16', 'f32'], 'ADAPTER is set by npm run test:gpu').toContain(asked);
  expect(device.features.has('shader-f16')).toBe(asked === 'f16');
  expect(adapter.f16).toBe(asked === 'f16');
});

test('one device serves a test file', async () => {
  expect(await openTestDevice()).toBe(await openTestDevice());
  expect(await openTestDevice('another')).not.toBe(await openTestDevice());
});

test('an error that no error scope caught is reported', async () => {
  const { device } = await openTestDevice();
  device.createBuffer({ label: 'no usage', size: 4, usage: 0 });
  await device.queue.onSubmittedWorkDone();
  const errors = takeErrors();
  expect(errors).toHaveLength(1);
  expect(errors[0].message).toContain('no usage');
});
