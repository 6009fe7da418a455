import { describe, expect, it } from 'vitest';
import { FrozenMap } from '../../../src/config/frozen-map.ts';

describe('FrozenMap', () => {
  const entries: [string, number][] = [
    ['a', 1],
    ['__proto__', 2],
  ];

  it('reads like a Map', () => {
    const map = new FrozenMap(entries);
    const visited: unknown[] = [];
    map.forEach((value, key, whole) => visited.push([key, value, whole === map]));
    expect(visited).toEqual([
      ['a', 1, true],
      ['__proto__', 2, true],
    ]);
    expect([...map]).toEqual(entries);
    expect([...map.entries()]).toEqual(entries);
    expect([...map.keys()]).toEqual(['a', '__proto__']);
    expect([...map.values()]).toEqual([1, 2]);
    expect([map.size, map.get('a'), map.get('b'), map.has('a'), map.has('b')]).toEqual([2, 1, undefined, true, false]);
  });

  it('cannot be written to', () => {
    const map = new FrozenMap(entries);
    expect(Object.isFrozen(map)).toBe(true);
    expect(() => Map.prototype.set.call(map, 'b', 3)).toThrow(TypeError);
    entries.push(['b', 3]);
    expect(map.size).toBe(2);
  });
});
