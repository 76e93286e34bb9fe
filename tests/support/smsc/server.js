/*
 * An SMSC that does what its parent says, one line of JSON at a time; see node.py.
 *
 *   node server.js ['{"key": "…", "cert": "…"}']     PEM text: listens with TLS
 *
 * It writes   {"event": "listening", "port"}, {"event": "closed"}, {"event": "error", "message"}
 *             {"event": "<command>", "sequence", …}    each PDU that arrives, decoded, with the fields named below
 * It reads    {"do": "answer", "sequence", "status", "message_id"}     to the PDU of that sequence number
 *             {"do": "deliver", …}     a deliver_sm with these fields; octets as hex in "hex"
 *             {"do": "ask", "command"} any other request without fields
 *             {"do": "hang_up"}
 */
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const FIELDS = [
  'system_id', 'password', 'system_type', 'interface_version', 'addr_ton', 'addr_npi', 'address_range',
  'service_type', 'source_addr_ton', 'source_addr_npi', 'source_addr', 'dest_addr_ton', 'dest_addr_npi',
  'destination_addr', 'esm_class', 'protocol_id', 'priority_flag', 'schedule_delivery_time', 'validity_period',
  'registered_delivery', 'replace_if_present_flag', 'data_coding',
];

const waiting = new Map();
let session = null;

function say(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

function describe(pdu) {
  const event = {event: pdu.command, sequence: pdu.sequence_number, status: pdu.command_status};
  for (const field of FIELDS) {
    if (pdu[field] !== undefined) event[field] = pdu[field];
  }
  if (pdu.short_message !== undefined) {
    event.text = pdu.short_message.message.toString();
    event.udh = pdu.short_message.udh ? pdu.short_message.udh.map((element) => element.toString('hex')) : null;
  }
  return event;
}

const server = smpp.createServer(process.argv[2] ? JSON.parse(process.argv[2]) : {}, (found) => {
  session = found;
  found.on('pdu', (pdu) => {
    if (!pdu.isResponse()) waiting.set(pdu.sequence_number, pdu);
    say(describe(pdu));
  });
  found.on('error', (error) => say({event: 'error', message: error.message}));
  found.on('close', () => say({event: 'closed'}));
});
server.on('tlsClientError', (error) => say({event: 'error', message: error.message}));
server.listen(0, '127.0.0.1', () => say({event: 'listening', port: server.address().port}));

const actions = {
  answer({sequence, status, message_id}) {
    const pdu = waiting.get(sequence);
    waiting.delete(sequence);
    session.send(pdu.response({command_status: status || 0, message_id}));
  },
  deliver({hex, ...fields}) {
    if (hex !== undefined) fields.short_message = Buffer.from(hex, 'hex');
    session.deliver_sm(fields);
  },
  ask({command}) {
    session[command]({});
  },
  hang_up() {
    session.destroy();
  },
};

readline.createInterface({input: process.stdin})
  .on('line', (line) => {
    const words = JSON.parse(line);
    actions[words.do](words);
  })
  .on('close', () => process.exit(0));
