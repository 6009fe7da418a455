import { beforeEach, describe, expect, it } from 'vitest';
import { type FakeDnsEnvironment, records } from '../../support/fake-dns-environment.ts';
import { ask, ResolverFixture } from '../../support/resolver-fixture.ts';

let fixture: ResolverFixture;
let environment: FakeDnsEnvironment;

beforeEach(() => {
  fixture = new ResolverFixture();
  environment = fixture.environment;
});

describe('where an answer comes from', () => {
  it('gives literal addresses back at once, without asking anybody', () => {
    const resolver = fixture.resolver();
    expect(ask(resolver, '10.1.2.3')).toEqual([['10.1.2.3']]);
    expect(ask(resolver, 'fd00::1')).toEqual([['fd00::1']]);
    expect(ask(resolver, '[::1]')).toEqual([['::1']]);
    expect(environment.fileReads).toEqual([]);
    expect(environment.questions).toEqual([]);
  });

  it('prefers the hosts file, in any case, with all its addresses', async () => {
    environment.files.set('/etc/hosts', 'fd00::7 db\n10.0.0.7 DB.Example db\n');
    environment.zone.set('db A', records(30, '10.9.9.9'));
    expect(await fixture.answerFor(fixture.resolver(), 'dB')).toEqual(['10.0.0.7', 'fd00::7']);
    expect(environment.questions).toEqual([]);
  });

  it('sees an edit of the hosts file within five seconds, and reads it no more often', async () => {
    const resolver = fixture.resolver();
    environment.files.set('/etc/hosts', '10.0.0.7 db\n');
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.7']);
    environment.files.set('/etc/hosts', '10.0.0.8 db\n10.0.0.9 other\n');
    await environment.advance(4900);
    expect(await fixture.answerFor(resolver, 'other')).toEqual(['not-found']);
    expect(ask(resolver, 'db')).toEqual([['10.0.0.7']]);
    expect(environment.fileReads.filter((path) => path === '/etc/hosts')).toHaveLength(1);
    await environment.advance(200);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.8']);
  });

  it('reads each file once for all who ask at the same time', async () => {
    const resolver = fixture.resolver();
    for (const name of ['a', 'b', 'c']) ask(resolver, name);
    await environment.settle();
    expect(environment.fileReads).toEqual(['/etc/hosts', '/etc/resolv.conf']);
  });

  it('keeps what the hosts file said while it cannot be read, and forgets it when it is gone', async () => {
    const resolver = fixture.resolver();
    environment.files.set('/etc/hosts', '10.0.0.7 db\n');
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.7']);
    const read = environment.readTextFile.bind(environment);
    environment.readTextFile = () => Promise.reject(Object.assign(new Error('EMFILE'), { code: 'EMFILE' }));
    await environment.advance(6000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.7']);
    environment.readTextFile = read;
    environment.files.delete('/etc/hosts');
    await environment.advance(6000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['not-found']);
    expect(fixture.log).toEqual(['warn: cannot read file']);
  });

  it('knows localhost and all below it without a hosts entry, and asks no server about them', async () => {
    environment.files.clear();
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'localhost')).toEqual(['127.0.0.1', '::1']);
    expect(await fixture.answerFor(resolver, 'pg.LOCALHOST')).toEqual(['127.0.0.1', '::1']);
    expect(await fixture.answerFor(resolver, 'localhost.')).toEqual(['127.0.0.1', '::1']);
    expect(environment.questions).toEqual([]);
    environment.zone.set('notlocalhost A', records(30, '10.0.0.1'));
    expect(await fixture.answerFor(resolver, 'notlocalhost')).toEqual(['10.0.0.1']);
  });

  it('asks for A and AAAA and puts IPv4 first, each family in the order of DNS, without repetitions', async () => {
    environment.zone.set('db A', records(30, '10.0.0.3', '10.0.0.1', '10.0.0.3'));
    environment.zone.set('db AAAA', records(30, 'fd00::2', 'fd00::1'));
    expect(await fixture.answerFor(fixture.resolver(), 'db')).toEqual(['10.0.0.3', '10.0.0.1', 'fd00::2', 'fd00::1']);
  });

  it('is content with one family, whatever became of the other', async () => {
    environment.zone.set('four A', records(30, '10.0.0.1'));
    environment.zone.set('four AAAA', 'servfail');
    environment.zone.set('six A', []);
    environment.zone.set('six AAAA', records(30, 'fd00::1'));
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'four')).toEqual(['10.0.0.1']);
    expect(await fixture.answerFor(resolver, 'six')).toEqual(['fd00::1']);
    expect(fixture.log).toEqual([]);
  });

  it('walks the search list', async () => {
    environment.files.set('/etc/resolv.conf', 'nameserver 10.0.0.53\nsearch ns.svc svc\noptions ndots:5\n');
    environment.zone.set('db.svc A', records(30, '10.0.0.1'));
    expect(await fixture.answerFor(fixture.resolver(), 'db')).toEqual(['10.0.0.1']);
    expect(fixture.asked()).toEqual(['db.ns.svc A', 'db.ns.svc AAAA', 'db.svc A', 'db.svc AAAA']);
  });

  it('reads the resolv.conf and hosts file that it is given', async () => {
    environment.files.set('/my/hosts', '10.0.0.7 db\n');
    environment.files.set('/my/resolv.conf', 'nameserver 10.0.0.99\n');
    environment.zone.set('other A 10.0.0.99', records(30, '10.0.0.8'));
    const resolver = fixture.resolver({ hostsPath: '/my/hosts', resolvConfPath: '/my/resolv.conf' });
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.7']);
    expect(await fixture.answerFor(resolver, 'other')).toEqual(['10.0.0.8']);
    expect(environment.fileReads).toEqual(['/my/hosts', '/my/resolv.conf']);
  });

  it('asks the name server on this host when there is no resolv.conf', async () => {
    environment.files.delete('/etc/resolv.conf');
    environment.zone.set('db A 127.0.0.1', records(30, '10.0.0.1'));
    expect(await fixture.answerFor(fixture.resolver(), 'db')).toEqual(['10.0.0.1']);
    expect(fixture.log).toEqual(['warn: cannot read file']);
  });
});

describe('several name servers', () => {
  beforeEach(() => {
    environment.files.set(
      '/etc/resolv.conf',
      'nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions timeout:2 attempts:2\n',
    );
  });

  it('goes to the next one on silence or failure, and begins with the one that answered last', async () => {
    for (const name of ['db', 'other']) {
      environment.zone.set(`${name} A 10.0.0.1`, 'silent');
      environment.zone.set(`${name} AAAA 10.0.0.1`, 'servfail');
      environment.zone.set(`${name} A 10.0.0.2`, records(30, '10.9.0.1'));
      environment.zone.set(`${name} AAAA 10.0.0.2`, records(30, 'fd00::1'));
    }
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'db', 2000)).toEqual(['10.9.0.1', 'fd00::1']);
    environment.questions.length = 0;
    expect(await fixture.answerFor(resolver, 'other')).toEqual(['10.9.0.1', 'fd00::1']);
    expect(environment.questions.map(({ server }) => server)).toEqual(['10.0.0.2', '10.0.0.2']);
  });

  it('begins with the one that answered last also when its answer was that there is none', async () => {
    for (const type of ['A', 'AAAA']) environment.zone.set(`db ${type} 10.0.0.1`, 'servfail');
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['not-found']);
    environment.questions.length = 0;
    await fixture.answerFor(resolver, 'other');
    expect(environment.questions.map(({ server }) => server)).toEqual(['10.0.0.2', '10.0.0.2']);
  });

  it('gives up after all attempts with all servers', async () => {
    environment.zone.set('db A', 'silent');
    environment.zone.set('db AAAA', 'silent');
    const told = ask(fixture.resolver(), 'db');
    await environment.advance(7999);
    expect(told).toEqual([]);
    await environment.advance(1);
    expect(told).toEqual([['unreachable']]);
    expect(environment.questions).toHaveLength(8);
  });

  it('tries no further candidate with servers that are silent', async () => {
    environment.files.set('/etc/resolv.conf', 'nameserver 10.0.0.1\nsearch a b c\noptions timeout:1 attempts:1');
    environment.zone.set('db.a A', 'silent');
    environment.zone.set('db.a AAAA', 'silent');
    expect(await fixture.answerFor(fixture.resolver(), 'db', 1000)).toEqual(['unreachable']);
    expect(fixture.asked()).toEqual(['db.a A', 'db.a AAAA']);
  });

  it('passes over a search domain that is broken', async () => {
    environment.files.set('/etc/resolv.conf', 'nameserver 10.0.0.1\nsearch a b\n');
    environment.zone.set('db.a A', 'servfail');
    environment.zone.set('db.a AAAA', 'servfail');
    environment.zone.set('db.b A', records(30, '10.0.0.1'));
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
    environment.zone.set('db2.a A', 'servfail'); // also when only half of it is silent
    environment.zone.set('db2.a AAAA', 'silent');
    environment.zone.set('db2.b A', records(30, '10.0.0.2'));
    expect(await fixture.answerFor(resolver, 'db2', 10_000)).toEqual(['10.0.0.2']);
  });

  it.each(['A', 'AAAA'])('does not say "not found" when it could not ask for %s', async (type) => {
    environment.zone.set(`db ${type}`, 'servfail');
    expect(await fixture.answerFor(fixture.resolver(), 'db')).toEqual(['unreachable']);
  });

  it('does not slip to another host of the same name while the right one cannot be asked for', async () => {
    environment.files.set('/etc/resolv.conf', 'nameserver 10.0.0.1\nsearch a b\n');
    environment.zone.set('db.a A', records(1, '10.0.0.1'));
    environment.zone.set('db.b A', records(1, '10.66.66.66'));
    const resolver = fixture.resolver();
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
    environment.zone.set('db.a A', 'servfail');
    environment.zone.set('db.a AAAA', 'servfail');
    await environment.advance(1000);
    expect(await fixture.answerFor(resolver, 'db')).toEqual(['10.0.0.1']);
  });
});
