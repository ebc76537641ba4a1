// What the settings of routers mean for a student with experts, and what a dense one is told.

import { expect, test } from 'vitest';
import { checkConfig, DEFAULTS } from '../../src/config';
import {
  requireRouterBias,
  requireRouters,
  routerWarning,
} from '../../src/distill/router-training';
import { newStudent } from '../../src/distill/run-setup';
import type { Tensor } from '../../src/gpu/program';
import { trainedOf, trainedParameters } from '../../src/model/lora';
import { Layout } from '../../src/tensor/layout';

const SIZES = { vocabularySize: 64 };
const WITH_EXPERTS = { ...DEFAULTS, student_experts: 4 };

test('freezing the routers, or all but them, divides a student’s parameters', () => {
  const whole = newStudent(WITH_EXPERTS, SIZES);
  const frozen = newStudent({ ...WITH_EXPERTS, train_router: 'off' }, SIZES);
  const alone = newStudent({ ...WITH_EXPERTS, train_only_router: 'on' }, SIZES);
  expect(new Set(trainedOf(alone).map(({ role }) => role))).toEqual(new Set(['router']));
  // Two layers, each with four experts and a width of 64.
  expect(trainedParameters(alone)).toBe(2 * 4 * 64);
  expect(trainedParameters(frozen) + trainedParameters(alone)).toBe(trainedParameters(whole));
  expect([...trainedOf(frozen), ...trainedOf(alone)]).toHaveLength(whole.parameters.length);
});

test('a dense student is told that no router trains, with the settings that ask for it', () => {
  const dense = newStudent(DEFAULTS, SIZES);
  expect(routerWarning(DEFAULTS, dense)).toBeUndefined();
  const asked = { ...DEFAULTS, router_balance: 0.01, twin: 'train_router=off' };
  expect(routerWarning(asked, newStudent(WITH_EXPERTS, SIZES))).toBeUndefined();
  expect(routerWarning(asked, dense)).toBe(
    'WARNING: No router layers found! Router training will not occur. The student is a dense ' +
      'model: none of its layers chooses among experts, so router_balance and train_router have ' +
      'nothing to act on.',
  );
  expect(() => newStudent({ ...DEFAULTS, train_only_router: 'on' }, SIZES)).toThrow(
    /train_only_router is on, but the student is a dense model without router layers/,
  );
});

test('routers learn from a teacher’s only where those fit', () => {
  const student = newStudent(WITH_EXPERTS, SIZES);
  const taught = (...experts: number[]) =>
    experts.map((E) => ({ layout: Layout.contiguous([8, E]) }) as Tensor);
  const settings = { router_kd: 1 };
  expect(() => requireRouters(settings, student, taught(4, 4))).not.toThrow();
  expect(() => requireRouters({ router_kd: 0 }, student)).not.toThrow();
  for (const others of [[], [4], [8, 8]])
    expect(() => requireRouters(settings, student, taught(...others))).toThrow(
      /router_kd is 1, and the student’s routers do not fit the teacher’s. The student has 2 of 4/,
    );
});

test('a bias balances the experts only where it takes part in the choice', () => {
  const asked = { ...WITH_EXPERTS, router_bias_rate: 0.001 };
  const biased = newStudent(asked, SIZES);
  expect(biased.family.modelType).toBe('dots1');
  // A twin alone may ask for it: both students start alike.
  const twin = { ...WITH_EXPERTS, twin: 'router_bias_rate=0.01' };
  expect(newStudent(twin, SIZES).config).toEqual(biased.config);
  expect(() => requireRouterBias(asked, biased)).not.toThrow();
  const other = newStudent(WITH_EXPERTS, SIZES);
  expect(() => requireRouterBias(WITH_EXPERTS, other)).not.toThrow();
  expect(() => requireRouterBias(asked, other)).toThrow(
    /router_bias_rate is 0.001, and no bias takes part in .* a Qwen3 MoE. Use router_balance, /,
  );
  const dense = newStudent(DEFAULTS, SIZES);
  expect(() => requireRouterBias(asked, dense)).not.toThrow();
  expect(routerWarning(asked, dense)).toContain('router_bias_rate has nothing to act on');
  expect(checkConfig({ ...asked, train_router: 'off' })).toEqual([
    'router_bias_rate is 0.001, but with train_router=off routers are frozen, their biases too. ' +
      'Use router_bias_rate=0, or let routers train.',
  ]);
});

test('settings under which nothing would train are refused', () => {
  const only = { ...DEFAULTS, train_only_router: 'on' } as const;
  expect(checkConfig({ ...only, train_router: 'off' })).toEqual([
    'train_only_router is on and train_router is off: nothing would train. Change one of them.',
  ]);
  expect(checkConfig({ ...only, student_model: 'files', lora_rank: 8 })).toEqual([
    'train_only_router is on and lora_rank is 8, but adapters train alone. ' +
      'Use train_only_router=off, or lora_rank=0.',
  ]);
});
