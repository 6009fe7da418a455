/**
 * THE table of the console's commands: name, the right that it needs, what it takes, and what it does. A command that
 * says no right does not compile. It knows neither messages nor connections. Texts are PgBouncer's.
 */
import { type ErrorReport, errors } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ClientRegistry } from '../client/client-registry.ts';
import type { ConnectionIds } from '../client/connection-ids.ts';
import { CONSOLE_DATABASE } from '../client/console-handler.ts';
import type { Suspension } from '../client/suspension.ts';
import type { DatabaseControl } from '../pool/database-control.ts';
import type { ConsoleActions, ShutdownKind } from './console-actions.ts';
import type { ConsoleRight } from './console-right.ts';
import type { ShowSource } from './show-source.ts';
import { SHOW_TABLES, type ShowTable } from './show-tables.ts';

export interface CommandContext {
  readonly source: ShowSource;
  readonly control: DatabaseControl;
  readonly registry: ClientRegistry;
  readonly ids: ConnectionIds;
  readonly suspension: Suspension;
  readonly actions: ConsoleActions;
  readonly log: Logger;
}

export type Answer =
  | { readonly kind: 'table'; readonly table: Pick<ShowTable, 'columns' | 'rows'> }
  | {
      readonly kind: 'done';
      readonly tag: string;
      readonly notice?: { readonly message: string; readonly detail?: string };
    }
  | { readonly kind: 'error'; readonly report: ErrorReport }
  /** Done when `isDone` says so; it is asked now and then. `onCancel`: whoever waits for it has cancelled it. */
  | { readonly kind: 'waiting'; readonly tag: string; isDone(): boolean; onCancel(): void }
  | { readonly kind: 'promised'; readonly answer: Promise<Answer> }
  /** The connection ends before there is one. */
  | { readonly kind: 'none' };

export interface CommandDefinition {
  /** In lower case. */
  readonly name: string;
  readonly right: ConsoleRight;
  /** As people write it behind the name. A `[…]` may be left out; without any there is no argument. */
  readonly argument: '' | '[db]' | 'db' | 'client_id' | '[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]';
  readonly documentation: string;
  /** `argument` is empty if there is none. */
  run(context: CommandContext, argument: string): Answer;
}

export const COMMANDS: readonly CommandDefinition[] = [
  {
    name: 'reload',
    right: 'admin',
    argument: '',
    documentation: 'Reads the configuration again; in force when the command returns.',
    run: ({ actions }) => ({ kind: 'promised', answer: answerOf(actions.reload(), 'RELOAD') }),
  },
  {
    name: 'pause',
    right: 'admin',
    argument: '[db]',
    documentation:
      'Hands out no server of the database (or of all) any more, and returns when the last one is given back and closed.',
    run: (context, name) => pause(context, name),
  },
  {
    name: 'resume',
    right: 'admin',
    argument: '[db]',
    documentation: 'Ends PAUSE and SUSPEND; with a name, PAUSE or KILL of that database.',
    run: (context, name) => resume(context, name),
  },
  {
    name: 'suspend',
    right: 'admin',
    argument: '',
    documentation:
      'Reads from nobody any more, and returns when all that was sent has left, at the latest after suspend_timeout.',
    run: (context) => suspend(context),
  },
  {
    name: 'disable',
    right: 'admin',
    argument: 'db',
    documentation: 'Refuses new clients of the database; those that are there stay.',
    run: (context, name) => setDisabled(context, name, true),
  },
  {
    name: 'enable',
    right: 'admin',
    argument: 'db',
    documentation: 'Ends DISABLE.',
    run: (context, name) => setDisabled(context, name, false),
  },
  {
    name: 'reconnect',
    right: 'admin',
    argument: '[db]',
    documentation: 'Replaces every server connection of the database (or of all): idle ones now, others when free.',
    run: (context, name) =>
      onDatabase(context, name, 'reconnect', () => {
        context.control.reconnect(name || null);
        return { kind: 'done', tag: 'RECONNECT' };
      }),
  },
  {
    name: 'wait_close',
    right: 'admin',
    argument: '[db]',
    documentation: 'Returns when no server connection is left that RECONNECT or a reload has marked for closing.',
    run: (context, name) =>
      onDatabase(context, name, 'wait in', () => ({
        kind: 'waiting',
        tag: 'WAIT_CLOSE',
        isDone: () => context.control.outdated(name || null) === 0,
        onCancel: () => {},
      })),
  },
  {
    name: 'kill',
    right: 'admin',
    argument: '[db]',
    documentation: 'Disconnects all clients and servers of the database (or of all) at once, and pauses it.',
    run: (context, name) => kill(context, name),
  },
  {
    name: 'kill_client',
    right: 'admin',
    argument: 'client_id',
    documentation: 'Disconnects the client with that `id` in SHOW CLIENTS.',
    run: (context, id) => killClient(context, id),
  },
  {
    name: 'shutdown',
    right: 'admin',
    argument: '[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]',
    documentation: 'Ends the process: at once, when every server is given back, or when the last client has left.',
    run: (context, how) => shutdown(context, how),
  },
];

function refuse(report: ErrorReport): Answer {
  return { kind: 'error', report };
}

async function answerOf(outcome: Promise<ErrorReport | null>, tag: string): Promise<Answer> {
  const report = await outcome;
  return report === null ? { kind: 'done', tag } : { kind: 'error', report };
}

/** Does it unless `name` is one that it cannot be done to. `what` is the verb of PgBouncer's refusal. */
function onDatabase(context: CommandContext, name: string, what: string, act: () => Answer): Answer {
  if (name === CONSOLE_DATABASE) return refuse(errors.notInThisState(`cannot ${what} admin db: ${name}`));
  if (name !== '' && !context.control.isKnown(name)) return refuse(errors.unknownDatabase(name));
  return act();
}

function isHalted({ source }: CommandContext): boolean {
  return source.pauseState !== 'active';
}

const ALREADY_HALTED = 'already suspended/paused';

function pause(context: CommandContext, name: string): Answer {
  const { control } = context;
  if (isHalted(context)) return refuse(errors.notInThisState(ALREADY_HALTED));
  return onDatabase(context, name, 'pause', () => {
    control.pause(name || null);
    return {
      kind: 'waiting',
      tag: 'PAUSE',
      // A RESUME from another console ends the wait, too.
      isDone: () => control.pausing(name || null) === 0 || !isPaused(control, name),
      onCancel: () => control.resume(name || null),
    };
  });
}

function isPaused(control: DatabaseControl, name: string): boolean {
  return name === '' ? control.isEverythingPaused : control.isPaused(name);
}

function suspend(context: CommandContext): Answer {
  const { control, suspension } = context;
  if (isHalted(context)) return refuse(errors.notInThisState(ALREADY_HALTED));
  if (control.pausedCount > 0) return refuse(errors.notInThisState('cannot suspend with paused databases'));
  suspension.begin();
  return {
    kind: 'waiting',
    tag: 'SUSPEND',
    isDone: () => suspension.isFlushed(),
    onCancel: () => suspension.end(),
  };
}

function resume(context: CommandContext, name: string): Answer {
  const { control, actions } = context;
  if (name === '' && actions.isShuttingDown()) return refuse(errors.resumeWhileShuttingDown());
  if (name === '' && !isHalted(context)) return refuse(errors.notInThisState('pooler is not paused/suspended'));
  if (name !== '' && !control.isPaused(name)) {
    if (name !== CONSOLE_DATABASE && !control.isKnown(name)) return refuse(errors.unknownDatabase(name));
    return refuse(errors.notInThisState(`database ${name} is not paused`));
  }
  if (name === '') context.suspension.end();
  control.resume(name || null);
  return { kind: 'done', tag: 'RESUME' };
}

function setDisabled(context: CommandContext, name: string, isDisabled: boolean): Answer {
  if (name === '') return refuse(errors.databaseRequired());
  const verb = isDisabled ? 'disable' : 'enable';
  return onDatabase(context, name, verb, () => {
    context.control.setDisabled(name, isDisabled);
    return { kind: 'done', tag: verb.toUpperCase() };
  });
}

function kill(context: CommandContext, name: string): Answer {
  const { control, registry } = context;
  if (isHalted(context)) return refuse(errors.notInThisState(ALREADY_HALTED));
  return onDatabase(context, name, 'kill', () => {
    const report = errors.databaseRemoved();
    // First, or they would hear of their servers' end instead.
    for (const client of registry.clients) {
      const isMeant = name === '' || client.options.identity.database === name;
      if (isMeant) client.close('database_removed', report);
    }
    control.kill(name || null, report);
    return { kind: 'done', tag: 'KILL' };
  });
}

function killClient({ registry, ids }: CommandContext, id: string): Answer {
  if (!/^\d{1,15}$/.test(id)) return refuse(errors.invalidClientId());
  for (const client of registry.clients) {
    if (ids.of(client) !== Number(id)) continue;
    client.close('admin_disconnect', errors.adminDisconnect());
    return { kind: 'done', tag: 'KILL_CLIENT' };
  }
  return refuse(errors.clientNotFound());
}

const SHUTDOWNS: ReadonlyMap<string, ShutdownKind> = new Map([
  ['', 'now'],
  ['wait_for_servers', 'wait_for_servers'],
  ['wait_for_clients', 'wait_for_clients'],
]);

function shutdown({ actions }: CommandContext, how: string): Answer {
  const kind = SHUTDOWNS.get(how.toLowerCase());
  if (kind === undefined) return { kind: 'error', report: errors.invalidCommand(`SHUTDOWN ${how}`) };
  actions.shutdown(kind);
  return kind === 'now' ? { kind: 'none' } : { kind: 'done', tag: 'SHUTDOWN' };
}

/** What SHOW HELP says. */
export function helpText(): string {
  const shows = ['HELP', ...SHOW_TABLES.map(({ name }) => name.toUpperCase())].join('|');
  const commands = COMMANDS.map(({ name, argument }) => `${name.toUpperCase()} ${argument}`.trim());
  return ['', `SHOW ${shows}`, 'SET key = arg', ...commands].join('\n\t');
}
