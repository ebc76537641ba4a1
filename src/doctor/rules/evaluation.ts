// Rules about the evaluation itself: whether it measures anything.

import type { Rule } from '../rule';
import { count, nonFiniteAt } from '../words';

/** The paths whose view PyTorch refuses: more than one sequence of more than one prediction. */
const viewFails = (batch: number, context: number) => batch > 1 && context > 2;

export const evaluationFails: Rule = {
  title: 'Evaluation batches fail',
  watches: 'Batches tried and failed in the latest evaluation; before it, eval_loss_path.',
  threshold: 'One failed batch: an evaluation that works fails on none.',
  severity: 'problem',
  caveat: 'It says nothing about training: the evaluation changes no weight.',
  look({ config, evaluations }) {
    const last = evaluations.at(-1);
    const strided = { eval_loss_path: 'strided' } as const;
    const advice = 'Read the sliced logits in place (eval_loss_path=strided).';
    if (!last) {
      const { eval_loss_path, batch_size: B, max_length: T } = config;
      if (eval_loss_path !== 'view' || !viewFails(B, T)) return undefined;
      return {
        text:
          `Every evaluation batch will fail: PyTorch’s view refuses the slice of ${B} sequences ` +
          `with ${T - 1} predictions each.`,
        advice,
        change: strided,
      };
    }
    if (last.failed === 0) return undefined;
    const path = last.path === 'view' ? strided : undefined;
    const none = last.succeeded === 0 ? ', so this run has no measured perplexity' : '';
    return {
      text:
        `${last.failed} of ${last.tried} evaluation batches failed at step ${count(last.step)}` +
        `${none}: ${(last.firstError ?? 'no message').split('\n')[0]}`,
      advice: path ? advice : 'Read the first error; the figures leave those batches out.',
      change: path,
      region: { chart: 'perplexity', from: 0, to: last.step },
    };
  },
};

export const trainingPathFails: Rule = {
  title: 'The training loss will raise',
  watches: 'train_loss_path, batch_size and max_length.',
  threshold:
    'view with more than one sequence of more than one prediction: exactly where PyTorch refuses ' +
    'it.',
  severity: 'problem',
  caveat: 'With a batch of one, or a context of two, the same line works.',
  look({ config: { train_loss_path, batch_size: B, max_length: T } }) {
    if (train_loss_path !== 'view' || !viewFails(B, T)) return undefined;
    return {
      text:
        `Every training step raises: PyTorch’s view refuses the slice of ${B} sequences with ` +
        `${T - 1} predictions each.`,
      advice: 'Shift the labels instead (train_loss_path=labels).',
      change: { train_loss_path: 'labels' },
    };
  },
};

export const noMeasurement: Rule = {
  title: 'The perplexity is no measurement',
  watches: 'Tokens behind the latest evaluation, its perplexity, and where a NaN begins.',
  threshold: 'No token counted, or a perplexity that is not a finite number.',
  severity: 'problem',
  caveat: 'A script that clamps such a perplexity prints a number; that number measures nothing.',
  explainedBy: ['evaluation-fails'],
  look({ evaluations, nonFinite }) {
    const last = evaluations.at(-1);
    if (!last || last.tried === 0) return undefined;
    const { tokens, studentPerplexity: perplexity, step } = last;
    const region = { chart: 'perplexity', from: 0, to: step } as const;
    if (tokens === 0) {
      return {
        text: `The evaluation at step ${count(step)} counted no token, so it has no perplexity.`,
        advice: 'Look at the data: every held-out target is ignored.',
        region,
      };
    }
    if (perplexity !== undefined && Number.isFinite(perplexity)) return undefined;
    return {
      text:
        `The student’s perplexity at step ${count(step)} is ${perplexity ?? 'not a number'}: its ` +
        'logits are not finite, or its loss is beyond 709 nats.' +
        (nonFinite ? ` In step ${count(nonFinite.step)}: ${nonFiniteAt(nonFinite)}` : ''),
      advice: 'Start again from sound weights, with a lower learning rate or in float32.',
      change: { model_dtype: 'float32' },
      region,
    };
  },
};
