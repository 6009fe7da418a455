/** Sets rows of text in columns, for a terminal or as Markdown. What they mean it does not know. */
export type TableStyle = 'plain' | 'markdown';

/** The first column is flushed left, as are those whose title ends with a space; the others are flushed right. */
export function textTable(titles: readonly string[], rows: readonly (readonly string[])[], style: TableStyle): string {
  const widths = titles.map((title, column) =>
    Math.max(title.trim().length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const isLeft = titles.map((title, column) => column === 0 || title.endsWith(' '));
  const line = (cells: readonly string[]): string => {
    const set = widths.map((width, column) => {
      const cell = (cells[column] ?? '').trim();
      return isLeft[column] === true ? cell.padEnd(width) : cell.padStart(width);
    });
    return style === 'plain' ? set.join('  ').trimEnd() : `| ${set.join(' | ')} |`;
  };
  const rule = widths.map((width, column) => {
    if (style === 'plain') return '-'.repeat(width);
    return isLeft[column] === true ? '-'.repeat(width) : `${'-'.repeat(Math.max(1, width - 1))}:`;
  });
  return [line(titles), line(rule), ...rows.map(line)].join('\n');
}
