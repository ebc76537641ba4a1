// One head's attention weights as a grid, query rows by key columns. A sentence names the selected
// query's strongest keys; a table has all weights.

import { useState } from 'react';
import { quoteToken, rowContent, strongestKeys } from './slices';

interface HeatMapProps {
  /** The operation that made the heads: transpose or reshape. */
  operation: string;
  head: number;
  /** Number of heads. */
  headCount: number;
  tokens: readonly string[];
  /** (T, T), row-major. */
  weights: readonly number[];
  /** The rows do not hold the tokens that the code assumes. */
  scrambled: boolean;
  query: number;
  onQuery: (query: number) => void;
}

/** Smaller weights would be invisible. */
const FAINTEST = 0.002;
const NAMED_KEYS = 3;

export function HeatMap({
  operation,
  head,
  headCount,
  tokens,
  weights,
  scrambled,
  query,
  onQuery,
}: HeatMapProps) {
  const [key, setKey] = useState<number>();
  const [asTable, setAsTable] = useState(false);
  const T = tokens.length;
  const keys = strongestKeys(weights, query, T, NAMED_KEYS);
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
          aria-label={`Head ${head} of ${operation} as a table`}
          onClick={() => setAsTable(!asTable)}
        >
          table
        </button>
      </figcaption>
      {asTable ? (
        <Weights operation={operation} head={head} tokens={tokens} weights={weights} />
      ) : (
        <svg
          viewBox={`0 0 ${T} ${T}`}
          role="img"
          aria-label={
            `Attention of head ${head} of ${operation}: ${T} query rows by ${T} key columns. ` +
            'All weights are in the table.'
          }
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={() => setKey(undefined)}
        >
          <rect width={T} height={T} className="heat-ground" />
          {[...weights.entries()]
            .filter(([, weight]) => weight > FAINTEST)
            .map(([at, weight]) => (
              // Beside a weight of 1, a weight of 0.1 would look like 0. Its square root differs
              // visibly from both.
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
      <p className="heat-text">
        {scrambled && `${describeRow(head, query, tokens, headCount)} `}
        {shown.length === 0
          ? `${quoteToken(tokens[query])} is not in this head.`
          : `${quoteToken(tokens[query])} attends to ${shown
              .map((at) => `${quoteToken(tokens[at])} ${weights[query * T + at].toFixed(2)}`)
              .join(', ')}.`}
      </p>
    </figure>
  );
}

function describeRow(
  head: number,
  row: number,
  tokens: readonly string[],
  headCount: number,
): string {
  const { token, slice } = rowContent(head, row, tokens.length, headCount);
  return (
    `This row is slice ${slice + 1} of ${headCount} of token ${token}, ` +
    `${quoteToken(tokens[token])}. The code assumes:`
  );
}

function Weights({
  operation,
  head,
  tokens,
  weights,
}: Pick<HeatMapProps, 'operation' | 'head' | 'tokens' | 'weights'>) {
  const T = tokens.length;
  return (
    <section className="heat-table" tabIndex={0} aria-label={`Head ${head} of ${operation}, table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">query</th>
            {tokens.map((token, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: tokens can repeat
              <th key={at} scope="col">
                {quoteToken(token)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tokens.map((token, row) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: as above
            <tr key={row}>
              <th scope="row">{quoteToken(token)}</th>
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
