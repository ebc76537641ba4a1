// `npm run fuzz -- --runs N --seed S --only NAME`: attacks every reader of what strangers send,
// cuts off all that writes what is believed later, and prints a table of attacks, tries and
// failures. NAME is the beginning of a row's name; "cut" has all cuts.

import { ATTACKS } from './attacks';
import { run } from './run';

const flags = new Map<string, string>();
for (let i = 2; i < process.argv.length; i += 2) {
  const [flag, value] = process.argv.slice(i, i + 2);
  if (!['--runs', '--seed', '--only'].includes(flag) || value === undefined) {
    console.error(
      `fuzz: ${flag} is no flag, or has no value. Use --runs N, --seed S, --only NAME.`,
    );
    process.exit(2);
  }
  flags.set(flag, value);
}
const runs = Number(flags.get('--runs') ?? 1000);
const seed = Number(flags.get('--seed') ?? 1);
const only = flags.get('--only');
const unhandled: string[] = [];
process.on('unhandledRejection', (error) =>
  unhandled.push(`a promise that nobody awaits: ${error}`),
);

const failures: string[] = [];
let all = 0;
console.log(`seed ${seed}\n\n| attack | tries | accepted | slowest, CPU | failures |`);
console.log('| --- | ---: | ---: | ---: | ---: |');
for (const attack of ATTACKS) {
  if (only !== undefined && !attack.name.startsWith(only)) continue;
  const { name, tries, accepted, slowest, failures: found } = await run(attack, runs, seed);
  found.push(...unhandled.splice(0));
  console.log(`| ${name} | ${tries} | ${accepted} | ${Math.round(slowest)} ms | ${found.length} |`);
  failures.push(...found);
  all += tries;
}
console.log(`| all | ${all} | | | ${failures.length} |`);
for (const failure of failures.slice(0, 40)) console.error(`\n${failure}`);
// The page’s files, which the cuts load, keep a channel open.
process.exit(failures.length > 0 ? 1 : 0);
