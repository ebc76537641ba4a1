// What a run is called: an id that sorts by time, and two words that people remember, which
// follow from the id.

const FIRST = (
  'amber ash bitter blue bold bright brisk calm clear copper crisp dark deep dry dusky ' +
  'early fine first free fresh gentle gilded golden grand green hidden honest humble keen ' +
  'late lively long mellow mild misty modest noble northern old pale patient peaty plain ' +
  'proud pure quick quiet rare red rich rugged salt sharp silver slow small smoky soft ' +
  'sober spare steady still strong sweet tall tidy warm white wild wise young'
).split(' ');
const SECOND = (
  'acorn alder anvil apple arrow barley barrel basin beacon beech birch boiler bottle brook ' +
  'candle cask cedar cinder cliff cloud clover coil condenser cooper copse cork crane cup ' +
  'drop ember fern field flame flask funnel garden glass grain granite grove harbour hazel ' +
  'heather heron hill hollow juniper kettle kiln lantern lark ledger malt maple marsh ' +
  'meadow mill moor oak orchard otter pine plum quill raven reed ridge river robin rye ' +
  'sparrow spring stave still stone stream thistle tide vapour vat vine walnut well wharf ' +
  'willow wren yeast'
).split(' ');

const ID = /^[\w-]{8,40}$/;

/** Whether a folder's name can be a run's id. */
export const isRunId = (name: string): boolean => ID.test(name);

/** "20261126-150412-x7k2qa": the time in UTC, then chance, so that two tabs differ. */
export function newRunId(now = new Date(), chance = Math.random()): string {
  const time = now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  return `${time}-${chance.toString(36).slice(2, 8).padEnd(6, '0')}`;
}

/** "amber still". The same id always has the same name. */
export function nameOf(id: string): string {
  // FNV-1a, then a last mixing so that ids of the same second differ in both words.
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  hash = (hash ^ (hash >>> 13)) >>> 0;
  return `${FIRST[hash % FIRST.length]} ${SECOND[(hash >>> 12) % SECOND.length]}`;
}
