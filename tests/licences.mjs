// `npm run licences`: the packages that the page and the command line are made of, by licence, and
// those that only build and test; from the lockfile. Fails if a package names no licence or has no
// checksum, or if install scripts are not switched off.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const read = (name) => readFileSync(fileURLToPath(new URL(`../${name}`, import.meta.url)), 'utf8');

const problems = [];
if (!/^ignore-scripts=true$/m.test(read('.npmrc')))
  problems.push('.npmrc does not say ignore-scripts=true. Add it: no package needs its script.');

const byLicence = {
  'in the page or the command line': new Map(),
  'only to build and test': new Map(),
};
for (const [path, entry] of Object.entries(JSON.parse(read('package-lock.json')).packages)) {
  if (path === '') continue;
  const name = `${entry.name ?? path.replace(/^.*node_modules\//, '')} ${entry.version}`;
  if (!entry.license) problems.push(`${name} names no licence. Look at it, or leave it out.`);
  if (!entry.integrity) problems.push(`${name} has no checksum. Run npm install.`);
  const use =
    entry.dev || entry.devOptional ? 'only to build and test' : 'in the page or the command line';
  const names = byLicence[use].get(entry.license) ?? [];
  byLicence[use].set(entry.license, [...names, name]);
}
for (const [use, licences] of Object.entries(byLicence)) {
  console.log(`\n${use[0].toUpperCase()}${use.slice(1)}:`);
  for (const [licence, names] of [...licences].sort(([a], [b]) => `${a}`.localeCompare(`${b}`)))
    console.log(`${licence} (${names.length}): ${names.sort().join(', ')}`);
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
