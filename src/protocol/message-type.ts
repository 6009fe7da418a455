/** The type bytes of protocol 3's messages, named as PostgreSQL's "Message Formats" names them. */

// From clients
export const QUERY = 0x51; //            Q
export const PARSE = 0x50; //            P
export const BIND = 0x42; //             B
export const DESCRIBE = 0x44; //         D
export const EXECUTE = 0x45; //          E
export const CLOSE = 0x43; //            C
export const SYNC = 0x53; //             S
export const FLUSH = 0x48; //            H
export const FUNCTION_CALL = 0x46; //    F
export const TERMINATE = 0x58; //        X
export const PASSWORD = 0x70; //         p, also SASLInitialResponse and SASLResponse
export const COPY_FAIL = 0x66; //        f

// From both
export const COPY_DATA = 0x64; //        d
export const COPY_DONE = 0x63; //        c

// From servers
export const AUTHENTICATION = 0x52; //        R
export const BACKEND_KEY_DATA = 0x4b; //      K
export const PARAMETER_STATUS = 0x53; //      S
export const READY_FOR_QUERY = 0x5a; //       Z
export const ROW_DESCRIPTION = 0x54; //       T
export const DATA_ROW = 0x44; //              D
export const COMMAND_COMPLETE = 0x43; //      C
export const EMPTY_QUERY_RESPONSE = 0x49; //  I
export const ERROR_RESPONSE = 0x45; //        E
export const NOTICE_RESPONSE = 0x4e; //       N
export const NOTIFICATION_RESPONSE = 0x41; // A
export const PARSE_COMPLETE = 0x31; //        1
export const BIND_COMPLETE = 0x32; //         2
export const CLOSE_COMPLETE = 0x33; //        3
export const PARAMETER_DESCRIPTION = 0x74; // t
export const NO_DATA = 0x6e; //               n
export const PORTAL_SUSPENDED = 0x73; //      s
export const FUNCTION_CALL_RESPONSE = 0x56; // V
export const COPY_IN_RESPONSE = 0x47; //      G
export const COPY_OUT_RESPONSE = 0x48; //     H
export const COPY_BOTH_RESPONSE = 0x57; //    W
export const NEGOTIATE_PROTOCOL_VERSION = 0x76; // v

/** The status byte of ReadyForQuery outside a transaction; T is inside one. */
export const STATUS_IDLE = 0x49; //           I
/** In a transaction that has failed. */
export const STATUS_FAILED = 0x45; //         E
