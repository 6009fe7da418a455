import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHba, type ReadNameFile } from '../../../src/auth/hba-parser.ts';
import { type HbaConnection, HbaRules } from '../../../src/auth/hba-rules.ts';

const noFiles: ReadNameFile = () => {
  throw new Error('no such file');
};

function parse(text: string, readNameFile = noFiles) {
  return parseHba(text, 'pg_hba.conf', readNameFile);
}

function rulesOf(text: string, readNameFile = noFiles): HbaRules {
  const { rules, problems } = parse(text, readNameFile);
  expect(problems).toEqual([]);
  return new HbaRules(rules);
}

const TLS: HbaConnection = {
  kind: 'tls',
  address: '10.1.2.3',
  database: 'shop',
  user: 'ann',
  isPhysicalReplication: false,
};
const PLAIN: HbaConnection = { ...TLS, kind: 'plain' };
const UNIX: HbaConnection = { ...TLS, kind: 'unix', address: '' };

function methodFor(text: string, connection: HbaConnection, readNameFile = noFiles): string | null {
  return rulesOf(text, readNameFile).match(connection)?.method ?? null;
}

describe('pg_hba.conf', () => {
  it.each([
    ['local all all trust', [null, null, 'trust']],
    ['host all all all md5', ['md5', 'md5', null]],
    ['hostssl all all 0.0.0.0/0 scram-sha-256', ['scram-sha-256', null, null]],
    ['hostnossl all all 0.0.0.0/0 reject', [null, 'reject', null]],
    ['hostgssenc all all 0.0.0.0/0 trust', [null, null, null]],
    ['hostnogssenc all all 0.0.0.0/0 password', ['plain', 'plain', null]],
  ])('"%s" is for its kind of connection', (line, expected) => {
    expect([TLS, PLAIN, UNIX].map((connection) => methodFor(line, connection))).toEqual(expected);
  });

  it.each([
    ['host shop ann 10.1.2.3/32 trust', true],
    ['host shop bob 10.1.2.3/32 trust', false],
    ['host store ann 10.1.2.3/32 trust', false],
    ['host shop ann 10.1.2.4/32 trust', false],
    ['host shop ann 10.1.0.0 255.255.0.0 trust', true],
    ['host shop ann ::/0 trust', false],
    ['host store,shop bob,ann 10.0.0.0/8 trust', true],
    ['host store , shop bob ,ann 10.0.0.0/8 trust', true],
    ['host "shop" "ann" 10.0.0.0/8 trust', true],
    ['host "all" all 10.0.0.0/8 trust', false],
    ['host all "all" 10.0.0.0/8 trust', false],
    ['host sameuser all 10.0.0.0/8 trust', false],
    ['host all sameuser 10.0.0.0/8 trust', false],
    ['host replication all 10.0.0.0/8 trust', false],
    ['host ALL all 10.0.0.0/8 trust', false],
    ['host all all 10.0.0.0/8 trust # not for ever', true],
    ['host all \\\n all 10.0.0.0/8 trust', true],
  ])('"%s" matches ann at shop from 10.1.2.3: %s', (line, expected) => {
    expect(methodFor(line, PLAIN)).toBe(expected ? 'trust' : null);
  });

  it('decides by the first rule that matches', () => {
    const text = 'host all bob all trust\nhost shop all all reject\nhost all all all trust\n';
    expect(rulesOf(text).match(PLAIN)).toMatchObject({ method: 'reject', line: 2 });
  });

  it('lets nobody in without a rule', () => {
    expect(rulesOf('').match(PLAIN)).toBeNull();
    expect(rulesOf('# nothing\r\n\r\n').match(UNIX)).toBeNull();
  });

  it('knows the database that is called like the user', () => {
    expect(methodFor('host sameuser all all trust', { ...PLAIN, database: 'ann' })).toBe('trust');
  });

  it('matches physical replication by its keyword only', () => {
    const physical = { ...PLAIN, isPhysicalReplication: true };
    expect(methodFor('host all all all trust', physical)).toBeNull();
    expect(methodFor('host "replication" all all trust', physical)).toBeNull();
    expect(methodFor('host all,replication all all trust', physical)).toBe('trust');
  });

  it('reads names out of files, and out of the files that they name', () => {
    const files: Record<string, string> = { admins: 'root, "a b"\n# nobody\n@more', more: 'ann\n' };
    const opened: string[] = [];
    const readNameFile: ReadNameFile = (name, namedIn) => {
      opened.push(`${name} in ${namedIn}`);
      return { path: `/etc/${name}`, text: files[name]! };
    };
    expect(methodFor('host all @admins all trust', PLAIN, readNameFile)).toBe('trust');
    expect(opened).toEqual(['admins in pg_hba.conf', 'more in /etc/admins']);
    expect(methodFor('host all @admins all trust', { ...PLAIN, user: 'bob' }, readNameFile)).toBeNull();
  });

  it('ends with files that name each other', () => {
    const { problems } = parse('host all @a all trust', (name) => ({ path: name, text: '@a' }));
    expect(problems).toEqual([{ file: 'pg_hba.conf', line: 1, message: 'files are named 10 deep' }]);
  });

  it('reads the name of a map', () => {
    const { rules } = parse('hostssl all all all cert map=staff\nlocal all all peer map="the staff"');
    expect(rules.map(({ method, map }) => [method, map])).toEqual([
      ['cert', 'staff'],
      ['peer', 'the staff'],
    ]);
  });

  it.each([
    ['hosts all all all trust', 'unknown record type "hosts"'],
    ['host', 'the database is missing'],
    ['host all', 'the user is missing'],
    ['host all all', 'the address is missing'],
    ['host all all all', 'the method is missing'],
    ['local all all', 'the method is missing'],
    ['host all all all gss', 'method "gss" is not supported'],
    ['host all all all peer', 'method "peer" works on Unix sockets only (record "local")'],
    ['local all all cert', 'method "cert" needs TLS, which a Unix socket does not have'],
    ['host all all 10.0.0.1 trust', 'address "10.0.0.1" needs a mask: "10.0.0.1/32"'],
    ['host all all fe80::1 trust', 'address "fe80::1" needs a mask: "fe80::1/128"'],
    ['host all all 10.0.0.0/99 trust', '"10.0.0.0/99" is not a network'],
    ['host all all example.org trust', 'address "example.org": host names are not supported'],
    ['host all all .example.org trust', 'address ".example.org": host names are not supported'],
    ['host all all samenet trust', 'address "samenet" is not supported'],
    ['host all all all,10.0.0.0/8 trust', 'the address is a list'],
    ['host samerole all all trust', '"samerole" is not supported: nobody here knows who belongs to a role'],
    ['host all +staff all trust', '"+staff": roles and groups are not supported'],
    ['host /^a all all trust', '"/^a": regular expressions are not supported'],
    ['host all @none all trust', '"@none" cannot be read: no such file'],
    ['host all "ann all trust', 'a quote is not closed'],
    ['host all ann, all', 'the address is missing'],
    ['host all all all trust,', 'a comma with no name behind it'],
    [', all', 'a comma with no name before it'],
    ['host all all all trust map=x', 'method "trust" has no option "map"'],
    ['host all all all md5 clientcert=verify-ca', 'method "md5" has no option "clientcert"'],
    ['hostssl all all all cert map', '"map" is not an option of the form name=value'],
    ['hostssl all all all cert map=a map=b', 'option "map" is given twice'],
  ])('"%s" is refused with its line', (line, message) => {
    const { rules, problems } = parse(`host all all all reject\n${line}\n`);
    expect(problems).toEqual([{ file: 'pg_hba.conf', line: 2, message }]);
    expect(rules.length).toBe(1);
  });

  it('never throws, whatever the file holds', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'host',
        'local',
        'all',
        'md5',
        '"',
        ',',
        '#',
        '@x',
        '\\\n',
        '\n',
        '/',
        '::/0',
        'map=',
        '\0',
        '\ufeff',
      ),
      fc.string({ unit: 'binary', maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(word), fc.constantFrom('', ' '), (words, glue) => {
        const { rules, problems } = parse(words.join(glue));
        for (const connection of [TLS, PLAIN, UNIX]) new HbaRules(rules).match(connection);
        expect(problems.every(({ line }) => line !== null && line >= 1)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
