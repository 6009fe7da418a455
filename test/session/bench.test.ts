/** The bench itself: what it would not notice, no test that stands on it could. */
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { WRITE_GONE, WRITE_LENT, WRITE_QUEUED } from '../../src/base/transport.ts';
import { MemoryStream } from '../support/memory-stream.ts';
import { cutAt, inPiecesOf, MemoryTransport, SharedMemory } from '../support/memory-transport.ts';
import { RawClient } from '../support/raw-client.ts';
import { type SessionBench, sessionBench } from '../support/session-fixture.ts';
import { VirtualEnvironment } from '../support/virtual-environment.ts';
import { decode, client as m, server as s } from '../support/wire.ts';
import { summary, trace } from '../support/wire-trace.ts';

const here = { address: '10.0.0.1', port: 1 };
const there = { address: '10.0.0.2', port: 2 };

/** A pair: a transport as the pooler has it, and its far end. */
function pair(capacity = 100) {
  const environment = new VirtualEnvironment();
  const events: string[] = [];
  let onData: ((buffer: Buffer, start: number, end: number) => void) | null = null;
  const transport = new MemoryTransport(
    environment,
    {
      onTransportConnect: () => events.push('connect'),
      onTransportData: (buffer, start, end) => {
        events.push(`data ${buffer.toString('latin1', start, end)}`);
        onData?.(buffer, start, end);
      },
      onTransportDrain: () => events.push('drain'),
      onTransportEnd: () => events.push('end'),
      onTransportClose: (error) => events.push(error === null ? 'close' : `close ${error.message}`),
    },
    { ...here, memory: new SharedMemory() },
    there,
  );
  const far = new MemoryStream(environment, { ...there, receiveCapacity: capacity }, here);
  MemoryTransport.connect(transport, far.transport);
  environment.run();
  return {
    environment,
    events,
    transport,
    far,
    onChunk: (callback: NonNullable<typeof onData>) => (onData = callback),
  };
}

describe('memory transports', () => {
  test('deliver in a later step, never from within a write', () => {
    const { environment, events, far } = pair();
    far.write(Buffer.from('abc'));
    expect(events).toEqual(['connect']);
    environment.run();
    expect(events).toEqual(['connect', 'data abc']);
  });

  test('overwrite a chunk after its callback, unless it is lent', () => {
    const { environment, transport, far, onChunk } = pair();
    let view: Buffer = Buffer.alloc(0);
    onChunk((buffer, start, end) => (view = buffer.subarray(start, end)));
    far.write(Buffer.from('abc'));
    environment.run();
    expect(view).toEqual(Buffer.alloc(3, 0xdb));
    onChunk((buffer, start, end) => {
      view = buffer.subarray(start, end);
      transport.lend();
    });
    far.write(Buffer.from('def'));
    environment.run();
    expect(view.toString()).toBe('def');
  });

  test('throw if lent memory is read into, and go on after a swap', () => {
    const { environment, transport, far } = pair();
    transport.lend();
    far.write(Buffer.from('abc'));
    expect(() => environment.run()).toThrow('memory that is lent');
    const other = pair();
    other.transport.lend();
    other.transport.swapReadBuffer();
    other.far.write(Buffer.from('abc'));
    other.environment.run();
    expect(other.events.at(-1)).toBe('data abc');
  });

  test('say what became of bytes that were written, and notice that lent ones were changed', () => {
    const { environment, events, transport, far } = pair(10);
    far.pause();
    expect(transport.write(Buffer.alloc(10, 'a'))).toBe(WRITE_GONE);
    const lent = Buffer.alloc(5, 'b');
    expect(transport.write(lent)).toBe(WRITE_LENT);
    expect(transport.writeCopy(Buffer.alloc(5, 'c'), 0, 5)).toBe(WRITE_QUEUED);
    expect(transport.unsentBytes).toBe(10);
    far.resume();
    environment.run();
    expect(events.at(-1)).toBe('drain');
    far.pause();
    transport.write(Buffer.alloc(10, 'a'));
    transport.write(lent);
    lent[0] = 0;
    far.resume();
    expect(() => environment.run()).toThrow('was overwritten');
  });

  test('a stopped one sees neither FIN nor RST; a reading one sees them after the bytes', () => {
    for (const how of ['end', 'reset'] as const) {
      const { environment, events, transport, far } = pair();
      transport.pause();
      far.write(Buffer.from('abc'));
      far[how]();
      environment.run();
      expect(events).toEqual(['connect']);
      transport.resume();
      environment.run();
      expect(events.slice(1)).toEqual(['data abc', how === 'end' ? 'end' : 'close read ECONNRESET']);
    }
  });

  test('closing with unread bytes sends a RST, else a FIN', () => {
    for (const unread of [true, false]) {
      const { environment, transport, far } = pair();
      transport.pause();
      if (unread) far.write(Buffer.from('abc'));
      environment.run();
      transport.destroy();
      environment.run();
      expect([far.ended, far.closeError?.message]).toEqual([true, unread ? 'read ECONNRESET' : undefined]);
    }
  });

  test('cut the stream where they are told', () => {
    const { environment, events, transport, far } = pair();
    transport.segmentation = cutAt(2, 5);
    far.write(Buffer.from('abcdefgh'));
    environment.run();
    transport.segmentation = inPiecesOf(3);
    far.write(Buffer.from('ijklm'));
    environment.run();
    expect(events.slice(1)).toEqual(['data ab', 'data cde', 'data fgh', 'data ijk', 'data lm']);
  });
});

function tracesOf(seed: number): string[][] {
  const bench = sessionBench({ pool_size: 2 }, { seed, shuffled: true });
  const clients = [bench.client(), bench.client(), bench.client()];
  for (const client of clients) client.send(m.query('SELECT a'));
  bench.run();
  return bench.postgres.sessions.map(({ trace: lines }) => lines);
}

describe('the virtual environment', () => {
  test('fires timers in their order, and counts those that are left', () => {
    const environment = new VirtualEnvironment();
    const fired: string[] = [];
    const startMs = environment.now();
    environment.startTimer(20, () => fired.push(`b${environment.now() - startMs}`));
    const every = environment.startTimer(10, () => fired.push(`a${environment.now() - startMs}`), 'repeat');
    environment.startTimer(15, () => fired.push('never')).cancel();
    environment.advance(35);
    expect(fired).toEqual(['a10', 'b20', 'a20', 'a30']);
    expect(environment.timers).toHaveLength(1);
    every.cancel();
    expect(environment.timers).toEqual([]);
  });

  test('notices a circle', () => {
    const environment = new VirtualEnvironment();
    environment.post(() => {
      for (;;) environment.now();
    });
    expect(() => environment.run()).toThrow('circle');
  });

  test('the same seed is the same run', () => {
    expect(tracesOf(5)).toEqual(tracesOf(5));
  });
});

/** What `play` does, and then the check. */
function finish(play: (bench: SessionBench) => void): () => void {
  const bench = sessionBench({ pool_size: 1 }, { manual: true });
  play(bench);
  return () => bench.finish();
}

describe('the check after each test', () => {
  test('finds closes that were not announced', () => {
    expect(finish((bench) => bench.client().vanish())).toThrow('unexpected close: client: eof');
    expect(
      finish((bench) => {
        bench.client();
        bench.server().die('exit');
        bench.run();
      }),
    ).toThrow('unexpected close: server: eof');
  });

  test('finds errors in the log, timers, leases and sockets that are left', () => {
    expect(finish((bench) => bench.log.error({}, 'oh no'))).toThrow('logged as error: oh no');
    expect(finish((bench) => bench.environment.startTimer(1e9, () => {}))).toThrow('a timer is left');
    expect(
      finish((bench) => {
        bench.client();
        bench.budget.request(bench.pool());
      }),
    ).toThrow('leases');
    expect(finish((bench) => bench.registry.sockets++)).toThrow('1 client sockets left');
  });

  test('is content with a quiet conversation', () => {
    finish((bench) => bench.client().query('SELECT a'))();
  });
});

describe('words for people', () => {
  const conversation = [
    s.rowDescription('a'),
    s.row('1'),
    s.row('1'),
    s.complete('SELECT 2'),
    s.error({ code: '42P01', message: 'no' }),
    s.ready('E'),
  ];

  test('a trace in the style of PQtrace', () => {
    expect(trace('F', decode(Buffer.concat([m.query('SELECT 1'), m.parse('SELECT 2', 'n'), m.sync()])))).toBe(
      ['F\t13\tQuery\t"SELECT 1"', 'F\t17\tParse\t"n" "SELECT 2"', 'F\t4\tSync'].join('\n'),
    );
    expect(
      trace('B', decode(Buffer.concat(conversation)))
        .split('\n')
        .slice(1),
    ).toEqual([
      "B\t11\tDataRow\t'1'",
      "B\t11\tDataRow\t'1'",
      'B\t13\tCommandComplete\t"SELECT 2"',
      'B\t30\tErrorResponse\tS "ERROR" V "ERROR" C "42P01" M "no"',
      'B\t5\tReadyForQuery\tE',
    ]);
  });

  test('a summary in one line', () => {
    expect(summary(decode(Buffer.concat(conversation)))).toBe('T D(1)×2 C(SELECT 2) E(42P01) Z(E)');
  });
});

test('the same client over TCP', async () => {
  const server = createServer((socket) => {
    socket.once('data', () => {
      socket.write(
        Buffer.concat([s.authentication(0), s.parameter('a', 'b'), s.keyData(Buffer.alloc(8, 7)), s.ready('I')]),
      );
      socket.on('data', (chunk) => {
        if (decode(chunk)[0]!.type !== 'Q') return;
        socket.write(Buffer.concat([s.rowDescription('a'), s.row('x'), s.complete('SELECT 1'), s.ready('I')]));
        socket.end();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const client = await RawClient.open(typeof address === 'object' ? address!.port : 0);
  await client.login({ user: 'app' });
  expect([client.key, client.parameters.get('a')]).toEqual([Buffer.alloc(8, 7), 'b']);
  expect(await client.values('SELECT x')).toEqual(['x']);
  expect(await client.read()).toBeNull();
  expect(await client.readToEnd()).toEqual([]);
  client.terminate();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});
