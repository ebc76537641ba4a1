// The README.md of a built-in teacher: what it learned from, how, and how well. Every figure comes
// from its training.

import { BUILT_IN_MODELS, type BuiltInName, TEXTS } from '../built-in';
import type { TeacherRecipe } from './teacher-recipes';

export interface TeacherFacts {
  name: BuiltInName;
  recipe: TeacherRecipe;
  parameters: number;
  /** Characters of the whole text, and of the held-out tokens that were predicted. */
  characters: { text: number; heldOut: number };
  heldOut: { tokens: number; perplexity: number };
  dtype: 'f16' | 'f32';
  adapter: string;
  samples: readonly string[];
}

/** −log₂ of the held-out text's probability, divided by its characters. */
const bitsPerCharacter = ({ characters, heldOut }: TeacherFacts): number =>
  (Math.log2(heldOut.perplexity) * heldOut.tokens) / characters.heldOut;

export function teacherCard(facts: TeacherFacts): string {
  const { name, recipe, parameters, characters, heldOut, dtype, adapter, samples } = facts;
  const { about, text } = BUILT_IN_MODELS[name];
  const whole = (value: number) => Math.round(value).toLocaleString('en');
  return `---
library_name: transformers
pipeline_tag: text-generation
license: mit
---

# ${name}

${about} Made by \`npm run train:teacher -- ${name}\`.

| measured on the last tenth of the text, which it never saw | |
| --- | ---: |
| bits per character | ${bitsPerCharacter(facts).toFixed(3)} |
| perplexity per token | ${heldOut.perplexity.toFixed(2)} |
| tokens predicted | ${whole(heldOut.tokens)} |
| characters per token | ${(characters.heldOut / heldOut.tokens).toFixed(2)} |

| trained on | |
| --- | ---: |
| text | ${TEXTS[text].file}, ${whole(characters.text)} characters |
| vocabulary | ${whole(recipe.vocabulary)} tokens |
| parameters | ${whole(parameters)} |
| shape | ${recipe.layers} layers of width ${recipe.width}, ${recipe.heads} heads |
| tokens seen | ${whole(recipe.steps * recipe.batch * recipe.context)} |
| steps | ${whole(recipe.steps)} of ${recipe.batch} × ${recipe.context} tokens |
| learning rate | ${recipe.learning_rate}, cosine to zero |
| weight decay | ${recipe.weight_decay} |
| input tokens replaced at random | ${recipe.noise * 100}% |
| computed in | ${dtype === 'f16' ? 'float16' : 'float32'} on ${adapter} |

It continues a prompt like this, each token drawn from the 40 likeliest at temperature 0.8:

${samples.map((sample) => `> ${sample.trim().replaceAll('\n', '\n> ')}`).join('\n\n')}
`;
}
