/** What command tags leave in a session, and the SQL that undoes it. */
import { describe, expect, test } from 'vitest';
import { isTagOfInterest, SessionDirt } from '../../../src/server/session-dirt.ts';

const SETTINGS = 'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL';

function after(...tags: readonly string[]): SessionDirt {
  const dirt = new SessionDirt();
  for (const tag of tags) dirt.completed(tag);
  return dirt;
}

const isOfInterest = (tag: string): boolean => isTagOfInterest(Buffer.from(tag), 0);

describe('a tag', () => {
  test.each([
    ['SET', 'settings', SETTINGS],
    ['LISTEN', 'listen', 'UNLISTEN *'],
    ['PREPARE', 'prepared', 'DEALLOCATE ALL'],
    ['DECLARE CURSOR', 'cursors', 'CLOSE ALL'],
  ])('%s leaves %s, undone by %s', (tag, state, query) => {
    const dirt = new SessionDirt();
    expect(dirt.completed(tag)).toBe(state);
    expect([dirt.isClean, dirt.isForGood, dirt.resetQuery()]).toEqual([false, false, query]);
  });

  test('LOAD leaves what nothing undoes, DISCARD ALL neither', () => {
    const dirt = after('SET', 'LOAD', 'DISCARD ALL');
    expect([dirt.isClean, dirt.isForGood]).toEqual([false, true]);
  });

  test.each(['CREATE TABLE', 'CREATE VIEW', 'CREATE SEQUENCE', 'CREATE FUNCTIO'])(
    '%s may have made something temporary, which is not said to the client',
    (tag) => {
      const dirt = new SessionDirt();
      expect(dirt.completed(tag)).toBeNull();
      expect(dirt.resetQuery()).toBe('DISCARD TEMP');
    },
  );

  test('CREATE has made something temporary if the text has said so: once', () => {
    const dirt = new SessionDirt();
    dirt.announceTemporary();
    expect(dirt.resetQuery()).toBe('DISCARD TEMP');
    expect([dirt.completed('CREATE TABLE'), dirt.completed('CREATE TABLE')]).toEqual(['temporary', null]);
  });

  test.each(['SELECT 1', 'DELETE 1', 'BEGIN', 'COMMIT', 'RESET', 'PREPARE TRANSAC', 'DEALLOCATE', 'DISCARD TEMP'])(
    '%s leaves nothing',
    (tag) => {
      const dirt = new SessionDirt();
      expect([dirt.completed(tag), dirt.isClean, dirt.resetQuery()]).toEqual([null, true, '']);
    },
  );

  test('is known by its first letters, the frequent ones to be of no interest', () => {
    const judged = ['SET', 'LISTEN', 'LOAD', 'PREPARE', 'DECLARE CURSOR', 'CREATE TABLE', 'DISCARD ALL', 'RESET'];
    expect([...judged, 'DEALLOCATE ALL'].filter((tag) => !isOfInterest(tag))).toEqual([]);
    const frequent = ['SELECT 1', 'DELETE 1', 'INSERT 0 1', 'UPDATE 1', 'BEGIN', 'COMMIT', 'COPY 1', 'FETCH 1'];
    expect(frequent.filter(isOfInterest)).toEqual([]);
  });
});

describe('several tags', () => {
  test('are undone by the SQL of each, once', () => {
    expect(after('LISTEN', 'SET', 'SET', 'PREPARE').resetQuery()).toBe(`UNLISTEN *;${SETTINGS};DEALLOCATE ALL`);
  });

  test('before DISCARD ALL are undone by it', () => {
    const dirt = after('SET', 'LISTEN', 'PREPARE', 'DECLARE CURSOR', 'CREATE TABLE', 'DISCARD ALL');
    expect(dirt.isClean).toBe(true);
    expect(dirt.completed('CREATE TABLE')).toBeNull();
  });

  test('before DEALLOCATE ALL are undone by it as far as they prepare', () => {
    expect(after('PREPARE', 'DEALLOCATE ALL').isClean).toBe(true);
    expect(after('PREPARE', 'LISTEN', 'DEALLOCATE ALL').resetQuery()).toBe('UNLISTEN *');
  });

  test('are forgotten with the reset', () => {
    const dirt = after('SET', 'LOAD');
    dirt.announceTemporary();
    dirt.clear();
    expect([dirt.isClean, dirt.completed('CREATE TABLE')]).toEqual([true, null]);
  });
});
