// Which patterns of a tokenizer could take for ever. The harmless ones are those of GPT-2, Llama 3,
// o200k, DeepSeek, StarCoder and CLIP, and normalisers' replacements.

import { expect, test } from 'vitest';
import { slowPattern } from '../../src/data/patterns';

const found = (pattern: string) =>
  slowPattern({ pre_tokenizer: { pretokenizers: [{ pattern: { Regex: pattern } }] } });

test.each([
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?" +
    '[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}]*[\\p{Ll}\\p{Lm}]+(?i:'s|'t|'re)?|\\p{N}{1,3}|\\s+",
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|' +
    '[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+',
  '<\\|startoftext\\|>|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+',
  ' {2,}',
  '(?:\\r?\\n)+',
  '(abc)+',
  '\\(a+\\)+',
])('%s is fast', (pattern) => {
  expect(found(pattern)).toBeUndefined();
});

test.each([
  '(a+)+$',
  '(a|aa)+',
  '(?:a*)*b',
  '((a+))+',
  '(a{2,})*',
  '(?:x(\\w+\\s?)*)*$',
  '([ab]+c?)+',
])('%s is not', (pattern) => {
  expect(found(pattern)).toBe(pattern);
});
