// The page's icons, drawn on a 16 × 16 grid. Each one accompanies a text.

const PATHS = {
  still:
    'M2.500 13.500h7.500M3.300 13.500C1.200 11.600 1.300 8.700 3.600 7.400' +
    'C4.800 6.700 5 5.600 5 3.800C5 2.300 7 2 7.600 3.200L13.300 9M7.500 5.200' +
    'C7.500 6.300 7.900 6.900 8.900 7.400C11.200 8.700 11.300 11.600 9.200 13.500M13.300 9' +
    'v1.200M13.300 12.800v.1',
  link:
    'M6.600 9.400l2.800-2.800M7 4.600l1.300-1.300a3 3 0 0 1 4.300 4.300L11.300 9M9 11.400' +
    'l-1.300 1.300a3 3 0 0 1-4.300-4.300L4.700 7',
  system: 'M2.500 3.500h11v7.500h-11zM6 13.500h4M8 11v2.500',
  light:
    'M8 5.200a2.800 2.800 0 1 1 0 5.600a2.800 2.800 0 1 1 0-5.600M8 1.500v1.500M8 13v1.500' +
    'M1.500 8h1.500M13 8h1.500M3.400 3.400l1 1M11.600 11.600l1 1M3.400 12.600l1-1' +
    'M11.600 4.400l1-1',
  dark: 'M12.800 9.600A5.300 5.300 0 0 1 6.400 3.200A5.300 5.300 0 1 0 12.800 9.600z',
  play: 'M5 3l8 5l-8 5z',
  pause: 'M5.500 3.500v9M10.500 3.500v9',
  step: 'M4 3.500l6 4.500l-6 4.500zM12 3.500v9',
  reset: 'M3.500 8a4.500 4.500 0 1 0 1.600-3.400M3.500 2.500v3h3',
  pin: 'M5.500 2.500h5M6.500 2.500v4.500l-2 2.500h7l-2-2.500v-4.500M8 9.500v4',
  stop: 'M4.500 4.500h7v7h-7z',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.4"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
