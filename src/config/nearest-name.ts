/** Finds the name that somebody probably meant. It knows no names of its own. */

/** Longer words are no slips of a known name, and the cost grows with the square. */
const MAX_WORD_CHARS = 64;

/** The known name with the fewest slips (a letter missing, added, wrong, or two swapped), or null if none is near. */
export function nearestName(word: string, names: Iterable<string>): string | null {
  if (word.length > MAX_WORD_CHARS) return null;
  const lowerCase = word.toLowerCase();
  let nearest: string | null = null;
  let fewest = Number.POSITIVE_INFINITY;
  for (const name of names) {
    const slips = distance(lowerCase, name);
    // A third of the letters wrong is still a slip; more is another word.
    if (slips < fewest && slips <= Math.max(1, Math.floor(Math.min(name.length, word.length) / 3))) {
      fewest = slips;
      nearest = name;
    }
  }
  return nearest;
}

/** Optimal string alignment distance (Damerau-Levenshtein without overlapping swaps), three rows at a time. */
function distance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, beforePrevious[j - 2]! + 1);
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length]!;
}
