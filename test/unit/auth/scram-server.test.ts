import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ScramServer, type ScramServerOptions } from '../../../src/auth/scram-server.ts';

// RFC 7677 §3: user "user", password "pencil". Keys are computed here anew, by the formulas of RFC 5802 §3.
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const SALTED_PASSWORD = pbkdf2Sync('pencil', SALT, 4096, 32, 'sha256');
const CLIENT_KEY = createHmac('sha256', SALTED_PASSWORD).update('Client Key').digest();
const STORED_KEY = createHash('sha256').update(CLIENT_KEY).digest();
const SERVER_KEY = createHmac('sha256', SALTED_PASSWORD).update('Server Key').digest();
const CLIENT_NONCE = 'rOprNGfwEbeRWgbNEkqO';
const SERVER_NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
const NONCE = CLIENT_NONCE + SERVER_NONCE;
const CLIENT_FIRST = `n,,n=user,r=${CLIENT_NONCE}`;
const SERVER_FIRST = `r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
const PROOF = 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
const CLIENT_FINAL = `c=biws,r=${NONCE},p=${PROOF}`;

const UNBOUND = { mechanism: 'SCRAM-SHA-256', channelBinding: null } as const;

function createServer(
  doomed = false,
  binding: Pick<ScramServerOptions, 'mechanism' | 'channelBinding'> = UNBOUND,
): ScramServer {
  const secret = { kind: 'scram', iterations: 4096, salt: SALT, storedKey: STORED_KEY, serverKey: SERVER_KEY } as const;
  return new ScramServer({ secret, nonce: SERVER_NONCE, doomed, ...binding });
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** client-final with the proof that is right for what was said. */
function prove(bare: string, withoutProof: string, serverFirst = SERVER_FIRST): string {
  const signature = createHmac('sha256', STORED_KEY)
    .update(bytes(`${bare},${serverFirst},${withoutProof}`))
    .digest();
  const proof = CLIENT_KEY.map((byte, i) => byte ^ signature[i]!);
  return `${withoutProof},p=${Buffer.from(proof).toString('base64')}`;
}

describe('the exchange of RFC 7677 §3', () => {
  test('succeeds, and yields the ClientKey', () => {
    const server = createServer();
    expect(server.clientFirst(bytes(CLIENT_FIRST))).toEqual({ ok: true, message: bytes(SERVER_FIRST) });
    expect(server.clientFinal(bytes(CLIENT_FINAL))).toEqual({
      ok: true,
      message: bytes('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='),
      clientKey: CLIENT_KEY,
    });
  });

  test('fails at the end if the secret is a mock, even with the right proof', () => {
    const server = createServer(true);
    expect(server.clientFirst(bytes(CLIENT_FIRST))).toEqual({ ok: true, message: bytes(SERVER_FIRST) });
    expect(server.clientFinal(bytes(CLIENT_FINAL))).toEqual({ ok: false, reason: 'wrong password' });
  });

  test('fails with a proof that differs in one bit, wherever', () => {
    for (let bit = 0; bit < 256; bit++) {
      const proof = Buffer.from(PROOF, 'base64');
      proof[bit >> 3]! ^= 1 << (bit & 7);
      const server = createServer();
      server.clientFirst(bytes(CLIENT_FIRST));
      const final = server.clientFinal(bytes(`c=biws,r=${NONCE},p=${proof.toString('base64')}`));
      expect(final).toEqual({ ok: false, reason: 'wrong password' });
    }
  });

  test('cannot be repeated, nor continued after a failure', () => {
    const server = createServer();
    expect(server.clientFinal(bytes(CLIENT_FINAL))).toEqual({ ok: false, reason: 'SCRAM message out of order' });
    expect(server.clientFirst(bytes(CLIENT_FIRST)).ok).toBe(false);

    const failed = createServer();
    failed.clientFirst(bytes(CLIENT_FIRST));
    expect(failed.clientFinal(bytes(`c=biws,r=${NONCE},p=AAAA`)).ok).toBe(false);
    expect(failed.clientFinal(bytes(CLIENT_FINAL)).ok).toBe(false);
    expect(failed.clientFirst(bytes(CLIENT_FIRST)).ok).toBe(false);

    const done = createServer();
    done.clientFirst(bytes(CLIENT_FIRST));
    expect(done.clientFinal(bytes(CLIENT_FINAL)).ok).toBe(true);
    expect(done.clientFinal(bytes(CLIENT_FINAL)).ok).toBe(false);

    const twice = createServer();
    expect(twice.clientFirst(bytes(CLIENT_FIRST)).ok).toBe(true);
    expect(twice.clientFirst(bytes(CLIENT_FIRST)).ok).toBe(false);
    expect(twice.clientFinal(bytes(CLIENT_FINAL)).ok).toBe(false);
  });
});

describe('client-first-message', () => {
  test.each([
    [`n,,n=,r=${CLIENT_NONCE}`, 'biws', "libpq's empty user name"],
    [`n,,n=*,r=${CLIENT_NONCE}`, 'biws', "node-postgres's user name"],
    [`y,,n=,r=${CLIENT_NONCE}`, 'eSws', 'a client that could bind the channel'],
    [`n,,n=someone else,r=${CLIENT_NONCE}`, 'biws', 'another name than at startup'],
    [`n,,n=j\xfcrgen,r=${CLIENT_NONCE}`, 'biws', 'a name in Latin-1'],
    [`n,,n==2C=3D,r=${CLIENT_NONCE}`, 'biws', 'an escaped name'],
    [`n,,n=,r=${CLIENT_NONCE},x=optional,Y=`, 'biws', 'optional extensions'],
  ])('%j is accepted: %s', (first, binding) => {
    const server = createServer();
    expect(server.clientFirst(bytes(first))).toEqual({ ok: true, message: bytes(SERVER_FIRST) });
    expect(server.clientFinal(bytes(prove(first.slice(3), `c=${binding},r=${NONCE}`))).ok).toBe(true);
  });

  test.each([
    ['', 'malformed SCRAM message'],
    ['n', 'malformed SCRAM message'],
    ['n,,', 'malformed SCRAM message'],
    ['x,,n=,r=abc', 'malformed SCRAM message'],
    ['N,,n=,r=abc', 'malformed SCRAM message'],
    [',,n=,r=abc', 'malformed SCRAM message'],
    ['n,n=,r=abc', 'malformed SCRAM message'],
    ['n,x,n=,r=abc', 'malformed SCRAM message'],
    ['nn,n=,r=abc', 'malformed SCRAM message'],
    ['p=tls-server-end-point,,n=,r=abc', 'channel binding is not supported'],
    ['p=tls-unique,,n=,r=abc', 'channel binding is not supported'],
    ['n,a=admin,n=,r=abc', 'authorization identity is not supported'],
    ['y,a=admin,n=,r=abc', 'authorization identity is not supported'],
    ['n,,m=x,n=,r=abc', 'mandatory SCRAM extension is not supported'],
    ['n,,r=abc', 'malformed SCRAM message'],
    ['n,,n=', 'malformed SCRAM message'],
    ['n,,n=,r=', 'malformed SCRAM message'],
    ['n,,x=,r=abc', 'malformed SCRAM message'],
    ['n,,n=,x=abc', 'malformed SCRAM message'],
    ['n,,n=,', 'malformed SCRAM message'],
    ['n,,r=abc,n=', 'malformed SCRAM message'],
    ['n,,n=,x=y,r=abc', 'malformed SCRAM message'],
    ['n,,n=,n=,r=abc', 'malformed SCRAM message'],
    ['n,,n=,r=abc,r=def', 'malformed SCRAM message'],
    ['n,,n=,r=abc,n=', 'malformed SCRAM message'],
    ['n,,n=,r=abc,m=x', 'malformed SCRAM message'],
    ['n,,n=,r=abc,p=x', 'malformed SCRAM message'],
    ['n,,n=,r=abc,x=1,x=2', 'malformed SCRAM message'],
    ['n,,n=,r=abc,', 'malformed SCRAM message'],
    ['n,,n=,r=abc,x', 'malformed SCRAM message'],
    ['n,,n=,r=abc,1=x', 'malformed SCRAM message'],
    ['n,,n=,r=a bc', 'malformed SCRAM message'],
    ['n,,n=,r=a\x7fbc', 'malformed SCRAM message'],
    ['n,,n=,r=a\xe4bc', 'malformed SCRAM message'],
    ['n,,n=,r=abc\n', 'malformed SCRAM message'],
    ['n,,n=,r=a\0bc', 'malformed SCRAM message'],
    ['n,,n=\0,r=abc', 'malformed SCRAM message'],
    [`n,,n=,r=${'a'.repeat(1024)}`, 'malformed SCRAM message'],
    [`n,,n=${'a'.repeat(1_000_000)},r=abc`, 'malformed SCRAM message'],
  ])('%j is refused: %s', (first, reason) => {
    const server = createServer();
    expect(server.clientFirst(bytes(first))).toEqual({ ok: false, reason });
    expect(server.clientFirst(bytes(CLIENT_FIRST)).ok).toBe(false);
  });

  test('a nonce of every printable character but the comma', () => {
    let nonce = '';
    for (let code = 0x21; code < 0x7f; code++) if (code !== 0x2c) nonce += String.fromCharCode(code);
    const answer = createServer().clientFirst(bytes(`n,,n=,r=${nonce}`));
    expect(answer.ok && answer.message.toString('latin1')).toContain(`r=${nonce}${SERVER_NONCE},`);
  });
});

describe('client-final-message', () => {
  const bare = CLIENT_FIRST.slice(3);

  test('optional extensions are accepted, and covered by the proof', () => {
    const accepted = createServer();
    accepted.clientFirst(bytes(CLIENT_FIRST));
    const final = prove(bare, `c=biws,r=${NONCE},x=optional`);
    expect(accepted.clientFinal(bytes(final)).ok).toBe(true);

    const changed = createServer();
    changed.clientFirst(bytes(CLIENT_FIRST));
    expect(changed.clientFinal(bytes(final.replace('optional', 'modified'))).ok).toBe(false);
  });

  test.each([
    ['c=eSws', 'channel binding does not match'], // a gs2 header other than the one that was sent
    ['c=biwsbiws', 'channel binding does not match'],
    ['c=biw', 'channel binding does not match'],
    ['c=', 'channel binding does not match'],
    ['c=bi,,', 'malformed SCRAM message'],
    [`c=${Buffer.from('p=tls-server-end-point,,x').toString('base64')}`, 'channel binding does not match'],
    ['C=biws', 'malformed SCRAM message'],
  ])('%s: %s', (binding, reason) => {
    const server = createServer();
    server.clientFirst(bytes(CLIENT_FIRST));
    expect(server.clientFinal(bytes(prove(bare, `${binding},r=${NONCE}`)))).toEqual({ ok: false, reason });
  });

  test.each([CLIENT_NONCE, SERVER_NONCE, `${NONCE}x`, NONCE.slice(0, -1), SERVER_NONCE + CLIENT_NONCE, ''])(
    'another nonce is refused: %s',
    (nonce) => {
      const server = createServer();
      server.clientFirst(bytes(CLIENT_FIRST));
      const final = server.clientFinal(bytes(prove(bare, `c=biws,r=${nonce}`)));
      expect(final).toEqual({ ok: false, reason: 'SCRAM nonce does not match' });
    },
  );

  test('a header that was `y,,` cannot become `n,,`', () => {
    const server = createServer();
    server.clientFirst(bytes(`y,,n=user,r=${CLIENT_NONCE}`));
    const final = server.clientFinal(bytes(prove(bare, `c=biws,r=${NONCE}`)));
    expect(final).toEqual({ ok: false, reason: 'channel binding does not match' });
  });

  test.each([
    ['', 'nothing'],
    [PROOF, 'only a proof'],
    [`c=biws,r=${NONCE}`, 'no proof'],
    [`c=biws,r=${NONCE},x=${PROOF}`, 'a proof that is called otherwise'],
    [`c=biws,p=${PROOF}`, 'no nonce'],
    [`r=${NONCE},p=${PROOF}`, 'no channel binding'],
    [`r=${NONCE},c=biws,p=${PROOF}`, 'another order'],
    [`c=biws,p=${PROOF},r=${NONCE}`, 'the proof not at the end'],
    [`c=biws,r=${NONCE},p=${PROOF},x=y`, 'an extension after the proof'],
    [`c=biws,r=${NONCE},p=${PROOF},`, 'a comma at the end'],
    [`c=biws,r=${NONCE},p=${PROOF},p=${PROOF}`, 'two proofs'],
    [`c=biws,r=${NONCE},r=${NONCE},p=${PROOF}`, 'two nonces'],
    [`c=biws,c=biws,r=${NONCE},p=${PROOF}`, 'two channel bindings'],
    [`c=biws,r=${NONCE},x=1,x=2,p=${PROOF}`, 'an extension twice'],
    [`c=biws,r=${NONCE},m=1,p=${PROOF}`, 'a mandatory extension'],
    [`c=biws,r=${NONCE},p=`, 'an empty proof'],
    [`c=biws,r=${NONCE},p=${PROOF.slice(0, -1)}`, 'a proof without padding'],
    [`c=biws,r=${NONCE},p=${Buffer.alloc(31).toString('base64')}`, 'a short proof'],
    [`c=biws,r=${NONCE},p=${Buffer.alloc(33).toString('base64')}`, 'a long proof'],
    [`c=biws,r=${NONCE},p=${PROOF.replace('VQ=', 'VR=')}`, 'a proof with stray bits'],
    [`c=biws,r=${NONCE},p=${PROOF}\n`, 'a line break'],
    [`c=biws,r=${NONCE},p=${PROOF}\0`, 'a NUL'],
    [`c=biws,r=${NONCE},x=${'a'.repeat(2000)},p=${PROOF}`, 'too long'],
    [`c=biws,r=${NONCE},p=${'A'.repeat(1_000_000)}`, 'a huge proof'],
  ])('refused (%#)', (final) => {
    const server = createServer();
    server.clientFirst(bytes(CLIENT_FIRST));
    expect(server.clientFinal(bytes(final))).toEqual({ ok: false, reason: 'malformed SCRAM message' });
    expect(server.clientFinal(bytes(CLIENT_FINAL)).ok).toBe(false);
  });
});

/** What `c=` says. */
function bound(header: string, data = Buffer.alloc(0)): string {
  return Buffer.concat([bytes(header), data]).toString('base64');
}

describe('channel binding', () => {
  const HASH = Buffer.from('the hash of the certificate');
  const OTHER = Buffer.from('the hash of another certificate');
  const PLUS = 'SCRAM-SHA-256-PLUS';
  const bare = CLIENT_FIRST.slice(3);
  const P = 'p=tls-server-end-point,,';

  /** What a client hears that says `header` and then is bound to `data`, and otherwise does all right. */
  function exchange(
    mechanism: 'SCRAM-SHA-256' | typeof PLUS,
    channelBinding: Buffer | null,
    header: string,
    input: string,
  ): string {
    const server = createServer(false, { mechanism, channelBinding });
    const first = server.clientFirst(bytes(header + bare));
    if (!first.ok) return first.reason;
    const final = server.clientFinal(bytes(prove(bare, `c=${input},r=${NONCE}`)));
    return final.ok ? 'in' : final.reason;
  }

  test('with the right data lets in; with any other, or none, not', () => {
    expect(exchange(PLUS, HASH, P, bound(P, HASH))).toBe('in');
    for (const data of [OTHER, HASH.subarray(1), Buffer.concat([HASH, HASH]), Buffer.alloc(0), Buffer.alloc(1e5)]) {
      const answer = exchange(PLUS, HASH, P, bound(P, data));
      expect(answer).toMatch(/^(channel binding does not match|malformed SCRAM message)$/);
    }
    for (const input of [bound('n,,'), bound('y,,'), bound('n,,', HASH), HASH.toString('base64')]) {
      expect(exchange(PLUS, HASH, P, input)).toBe('channel binding does not match');
    }
  });

  test.each([
    [PLUS, HASH, 'n,,', 'channel binding does not fit the mechanism'],
    [PLUS, HASH, 'y,,', 'channel binding does not fit the mechanism'],
    [PLUS, HASH, 'p=tls-unique,,', 'unsupported type of channel binding'],
    [PLUS, HASH, 'p=tls-server-end-poin,,', 'unsupported type of channel binding'],
    [PLUS, HASH, 'p=,,', 'malformed SCRAM message'],
    [PLUS, HASH, 'p=tls-server-end-point,a=admin,', 'authorization identity is not supported'],
    ['SCRAM-SHA-256', HASH, P, 'channel binding does not fit the mechanism'],
    ['SCRAM-SHA-256', HASH, 'y,,', 'channel binding was downgraded'],
    ['SCRAM-SHA-256', null, P, 'channel binding is not supported'],
  ] as const)('%s, offered %s, header %s: %s', (mechanism, offered, header, answer) => {
    expect(exchange(mechanism, offered, header, bound(header, HASH))).toBe(answer);
  });

  test('may be left out by a client that cannot, and by one that was not offered it', () => {
    expect(exchange('SCRAM-SHA-256', HASH, 'n,,', bound('n,,'))).toBe('in');
    expect(exchange('SCRAM-SHA-256', null, 'y,,', bound('y,,'))).toBe('in');
    // The data counts only where the mechanism says so.
    expect(exchange('SCRAM-SHA-256', HASH, 'n,,', bound('n,,', HASH))).toBe('channel binding does not match');
  });
});

test('any bytes end in a failure or a challenge, and never in success', () => {
  const parts = fc.constantFrom(
    'n',
    'y',
    'p',
    ',',
    '=',
    'r',
    'c',
    'm',
    'a',
    'x',
    'biws',
    'eSws',
    NONCE,
    CLIENT_NONCE,
    PROOF,
    'n,,',
    '\0',
    '\xff',
  );
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((some) => Buffer.from(some)),
    fc.array(parts, { maxLength: 14 }).map((some) => bytes(some.join(''))),
    fc.constant(bytes(CLIENT_FIRST)),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), message), { maxLength: 5 }), (messages) => {
      const server = createServer();
      for (const [first, data] of messages) {
        if (first) server.clientFirst(data);
        else expect(data.equals(bytes(CLIENT_FINAL)) || !server.clientFinal(data).ok).toBe(true);
      }
    }),
    { numRuns: 2_000 },
  );
});
