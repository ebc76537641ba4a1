// The harness of the gpu tests: it uses the requested driver, and reports WebGPU's errors.

import { expect, test } from 'vitest';
import { openTestDevice, takeErrors } from './harness';

test('the adapter is the one that the run requested', async () => {
  const { adapter, device } = await openTestDevice();
  const requested = process.env.ADAPTER;
  expect(['f16', 'f32'], 'ADAPTER is set by npm run test:gpu').toContain(requested);
  expect(device.features.has('shader-f16')).toBe(requested === 'f16');
  expect(adapter.f16).toBe(requested === 'f16');
});

test('a test file has one device for each label', async () => {
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
