// Every row of the table of divergences has what it needs, and reaches those who read the table.

import { describe, expect, test } from 'vitest';
import { FIELDS } from '../../src/config';
import { DIVERGENCE_NAMES, DIVERGENCES } from '../../src/divergences';
import * as reference from '../../src/reference';
import { readGoldenJson } from '../safetensors-fixture';

const KERNELS = Object.keys(import.meta.glob('../../src/kernels/*.wgsl'));
const GOLDENS = readGoldenJson<{ kind: string }[]>('losses.json');

describe.each(DIVERGENCE_NAMES)('%s', (name) => {
  const { label, formula, mixture, takesBeta } = DIVERGENCES[name];

  test('has a kernel and goldens', () => {
    expect(KERNELS).toContain(`../../src/kernels/${name}.wgsl`);
    expect(GOLDENS.map(({ kind }) => kind)).toContain(name);
  });

  test('says in its row whether it depends on β', () => {
    expect(`${formula} ${mixture}`.includes('β')).toBe(takesBeta);
    const [student, teacher] = [1, 2].map((salt) =>
      reference.contiguous(reference.numbers(5, salt, 2), [1, 1, 5]),
    );
    const target = reference.contiguous([0], [1, 1]);
    const loss = (beta: number) =>
      reference.distillationLoss({ kind: name, beta }, student, teacher, target).loss;
    expect(loss(0.2) !== loss(0.7)).toBe(takesBeta);
  });

  test('can be chosen, as the loss and in the mixed loss, and is named in the help', () => {
    expect(FIELDS.loss.choices).toContain(name);
    expect(FIELDS.kd_loss.choices).toContain(name);
    expect(FIELDS.kd_loss.help).toContain(label);
    expect(new RegExp(`\\b${name}\\b`).test(FIELDS.kd_beta.help)).toBe(takesBeta);
  });
});
