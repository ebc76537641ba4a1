// One head's attention weights as a grid, query rows by key columns, with the chosen query's
// strongest keys in words and all weights as a table.

import { useState } from 'react';
import { readable, rowMeaning, strongest } from './slices';

interface HeatMapProps {
  /** What made the heads: transpose or reshape. */
  of: string;
  head: number;
  /** How many heads there are. */
  heads: number;
  tokens: readonly string[];
  /** (T, T), row-major. */
  weights: readonly number[];
  /** The rows are not the tokens that the code takes them for. */
  scrambled: boolean;
  query: number;
  onQuery: (query: number) => void;
}

/** A weight below this would not be seen. */
const FAINTEST = 0.002;
const NAMED_KEYS = 3;

export function HeatMap({
  of,
  head,
  heads,
  tokens,
  weights,
  scrambled,
  query,
  onQuery,
}: HeatMapProps) {
  const [key, setKey] = useState<number>();
  const [asTable, setAsTable] = useState(false);
  const T = tokens.length;
  const keys = strongest(weights, query, T, NAMED_KEYS);
  const shown = key === undefined ? keys : [key];
  const point = (event: React.PointerEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const cell = (offset: number, size: number) =>
      Math.min(T - 1, Math.max(0, Math.floor((offset / size) * T)));
    onQuery(cell(event.clientY - box.top, box.height));
    setKey(cell(event.clientX - box.left, box.width));
  };
  return (
    <figure className="heat-map">
      <figcaption>
        <span className="bug-label">Head {head}</span>
        <button
          type="button"
          className="tool"
          aria-pressed={asTable}
          aria-label={`Head ${head} of ${of} as a table`}
          onClick={() => setAsTable(!asTable)}
        >
          table
        </button>
      </figcaption>
      {asTable ? (
        <Weights of={of} head={head} tokens={tokens} weights={weights} />
      ) : (
        <svg
          viewBox={`0 0 ${T} ${T}`}
          role="img"
          aria-label={`Attention of head ${head} of ${of}: ${T} query rows by ${T} key columns. All weights are in the table.`}
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={() => setKey(undefined)}
        >
          <rect width={T} height={T} className="heat-ground" />
          {[...weights.entries()]
            .filter(([, weight]) => weight > FAINTEST)
            .map(([at, weight]) => (
              // The eye takes a weight of 0.1 for nothing beside one of 1; its root can be told
              // from both.
              <rect
                key={at}
                x={at % T}
                y={Math.floor(at / T)}
                width={1}
                height={1}
                className="heat-cell"
                fillOpacity={Math.sqrt(weight)}
              />
            ))}
          <rect x={0} y={query} width={T} height={1} className="heat-query" />
          {key !== undefined && <rect x={key} y={0} width={1} height={T} className="heat-query" />}
        </svg>
      )}
      <p className="heat-words">
        {scrambled && `${rowWords(head, query, tokens, heads)} `}
        {shown.length === 0
          ? `${readable(tokens[query])} is not in this head.`
          : `${readable(tokens[query])} looks at ${shown
              .map((at) => `${readable(tokens[at])} ${weights[query * T + at].toFixed(2)}`)
              .join(', ')}.`}
      </p>
    </figure>
  );
}

function rowWords(head: number, row: number, tokens: readonly string[], heads: number): string {
  const { token, slice } = rowMeaning(head, row, tokens.length, heads);
  return `This row is slice ${slice + 1} of ${heads} of token ${token}, ${readable(tokens[token])}. The code believes:`;
}

function Weights({
  of,
  head,
  tokens,
  weights,
}: Pick<HeatMapProps, 'of' | 'head' | 'tokens' | 'weights'>) {
  const T = tokens.length;
  return (
    <section className="heat-table" tabIndex={0} aria-label={`Head ${head} of ${of}, table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">query</th>
            {tokens.map((token, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: a token may come twice; its place does not change
              <th key={at} scope="col">
                {readable(token)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tokens.map((token, row) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: as above
            <tr key={row}>
              <th scope="row">{readable(token)}</th>
              {weights.slice(row * T, (row + 1) * T).map((weight, at) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: as above
                <td key={at}>{weight === 0 ? '0' : weight.toFixed(2)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
