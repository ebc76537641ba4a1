// A chart as a picture to save. The page's styles are written into it, so that it looks the same
// without the page.

export const IMAGE_TYPES = ['svg', 'png'] as const;
export type ImageType = (typeof IMAGE_TYPES)[number];

/** Pixels of the picture for each pixel of the page. */
const PNG_SCALE = 2;
/** Height of the line with the title. */
const TITLE_HEIGHT = 24;
/** What styles say of SVG elements on the page. */
const PROPERTIES = [
  'fill',
  'fill-opacity',
  'stroke',
  'stroke-width',
  'stroke-opacity',
  'stroke-dasharray',
  'stroke-linejoin',
  'opacity',
  'font-family',
  'font-size',
  'font-weight',
  'text-anchor',
] as const;
/** Parts that belong to the page, not to the picture. */
const ONLY_ON_PAGE = '.pointer-area, .crosshair';

/** The chart in the theme that the page shows, with `title` above it. */
export async function chartImage(
  svg: SVGSVGElement,
  type: ImageType,
  title: string,
): Promise<Blob> {
  const picture = standalone(svg, title);
  const text = new XMLSerializer().serializeToString(picture);
  const blob = new Blob([text], { type: 'image/svg+xml' });
  return type === 'svg' ? blob : rasterise(blob, sizeOf(picture));
}

function standalone(svg: SVGSVGElement, title: string): SVGSVGElement {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const originals = [svg, ...svg.querySelectorAll<SVGElement>('*')];
  for (const [index, element] of [copy, ...copy.querySelectorAll<SVGElement>('*')].entries()) {
    const style = getComputedStyle(originals[index]);
    element.removeAttribute('style');
    for (const property of PROPERTIES) {
      const value = style.getPropertyValue(property);
      if (value) element.setAttribute(property, value);
    }
  }
  for (const element of copy.querySelectorAll(ONLY_ON_PAGE)) element.remove();
  const { width, height } = svg.getBoundingClientRect();
  const page = getComputedStyle(document.documentElement);
  const [total, shift] = [height + TITLE_HEIGHT, -TITLE_HEIGHT];
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  copy.setAttribute('width', String(width));
  copy.setAttribute('height', String(total));
  copy.setAttribute('viewBox', `0 ${shift} ${width} ${total}`);
  const paper = make('rect', {
    y: shift,
    width,
    height: total,
    fill: page.backgroundColor,
  });
  const heading = make('text', {
    x: 4,
    y: shift + 16,
    fill: page.color,
    'font-family': page.fontFamily,
    'font-size': '14px',
    'font-weight': 600,
  });
  heading.textContent = title;
  const name = make('title', {});
  name.textContent = title;
  copy.prepend(name, paper, heading);
  return copy;
}

function make(tag: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

const sizeOf = (svg: SVGSVGElement): [number, number] => [
  Number(svg.getAttribute('width')),
  Number(svg.getAttribute('height')),
];

async function rasterise(svg: Blob, [width, height]: [number, number]): Promise<Blob> {
  const url = URL.createObjectURL(svg);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = Math.round(width * PNG_SCALE);
    canvas.height = Math.round(height * PNG_SCALE);
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise<Blob>((resolve, reject) => {
      canvas.toBlob((blob) => {
        if (blob) resolve(blob);
        else reject(new Error(`The browser made no PNG of ${width} × ${height} pixels.`));
      }, 'image/png');
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}
