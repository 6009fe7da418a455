import { describe, expect, it } from 'vitest';
import { parseHostsFile } from '../../../src/net/hosts-file.ts';
import { parseResolvConf, searchCandidates } from '../../../src/net/resolv-conf.ts';

describe('parseResolvConf', () => {
  it('gives the local name server and glibc’s defaults for a missing file', () => {
    expect(parseResolvConf('')).toEqual({
      nameservers: ['127.0.0.1'],
      search: [],
      ndots: 1,
      timeoutMs: 5000,
      attempts: 2,
    });
  });

  it('reads a Kubernetes pod’s file', () => {
    const conf = parseResolvConf(
      'search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n',
    );
    expect(conf.search).toEqual(['prod.svc.cluster.local', 'svc.cluster.local', 'cluster.local']);
    expect(conf.nameservers).toEqual(['10.96.0.10']);
    expect(conf.ndots).toBe(5);
  });

  it('passes over comments, unknown words, broken values and carriage returns', () => {
    const conf = parseResolvConf(
      [
        '# nameserver 1.1.1.1',
        '; nameserver 1.1.1.2',
        'nameserver',
        'nameserver not-an-address',
        'nameserver 127.0.0.1:0', // would abort Node
        'nameserver 127.0.0.1:65536',
        '\tnameserver\t10.0.0.1 # ours\r',
        'nameserver fd00::53',
        'sortlist 10.0.0.0',
        'options rotate timeout:x attempts: ndots:2 edns0 # ndots:9',
        'search Example.COM. . ; nothing',
      ].join('\n'),
    );
    expect(conf).toEqual({
      nameservers: ['10.0.0.1', 'fd00::53'],
      search: ['example.com', ''],
      ndots: 2,
      timeoutMs: 5000,
      attempts: 2,
    });
  });

  it('takes ports as c-ares does', () => {
    const conf = parseResolvConf('nameserver 10.0.0.1:5353\nnameserver [::1]:5353\nnameserver [10.0.0.1]:53');
    expect(conf.nameservers).toEqual(['10.0.0.1:5353', '[::1]:5353']);
  });

  it('keeps to glibc’s bounds', () => {
    const many = 'nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n';
    const conf = parseResolvConf(`${many}options ndots:99 timeout:99 attempts:99`);
    expect(conf).toMatchObject({ ndots: 15, timeoutMs: 30_000, attempts: 5 });
    expect(conf.nameservers).toHaveLength(3);
    expect(parseResolvConf('options timeout:0 attempts:0')).toMatchObject({ timeoutMs: 1000, attempts: 1 });
  });

  it('lets the last of search and domain win', () => {
    expect(parseResolvConf('search a b\ndomain c d').search).toEqual(['c']);
    expect(parseResolvConf('domain c\nsearch a b').search).toEqual(['a', 'b']);
  });
});

describe('searchCandidates', () => {
  const conf = parseResolvConf('search one.test two.test\noptions ndots:2');

  it('tries a short name along the search list first, and as it is last', () => {
    expect(searchCandidates('db', conf)).toEqual(['db.one.test', 'db.two.test', 'db']);
    expect(searchCandidates('db.x', conf)).toEqual(['db.x.one.test', 'db.x.two.test', 'db.x']);
  });

  it('tries a name with enough dots as it is first', () => {
    expect(searchCandidates('db.x.y', conf)).toEqual(['db.x.y', 'db.x.y.one.test', 'db.x.y.two.test']);
  });

  it('takes a trailing dot for an absolute name', () => {
    expect(searchCandidates('db.', conf)).toEqual(['db']);
  });

  it('asks for no name twice, and for none that is too long for DNS', () => {
    const root = parseResolvConf(`search . ${'x'.repeat(60)}.test`);
    expect(searchCandidates('db', root)).toEqual(['db', `db.${'x'.repeat(60)}.test`]);
    const long = `${'y'.repeat(50)}.`.repeat(4);
    expect(searchCandidates(`${long}z`, root)).toEqual([`${long}z`]);
  });
});

describe('parseHostsFile', () => {
  it('collects all addresses of a name, in any case, without repetitions', () => {
    const hosts = parseHostsFile(
      '127.0.0.1 localhost\n10.0.0.1\tDB db.example # primary\n::1 localhost\r\n10.0.0.2 db\n10.0.0.1 db',
    );
    expect(hosts.get('localhost')).toEqual(['127.0.0.1', '::1']);
    expect(hosts.get('db')).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(hosts.get('db.example')).toEqual(['10.0.0.1']);
  });

  it('passes over what is no address, and is not misled by names of object properties', () => {
    const hosts = parseHostsFile('nonsense db\n#10.0.0.1 db\n10.0.0.3 #db\n10.0.0.4 constructor');
    expect([...hosts]).toEqual([['constructor', ['10.0.0.4']]]);
    expect(hosts.get('toString')).toBeUndefined();
  });
});
