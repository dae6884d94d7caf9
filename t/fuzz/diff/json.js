// Compares sio_json with JSON.parse on texts that are nearly JSON.
//
//     node json.js PROGRAM [SECONDS] [SEED]
//
// PROGRAM is json.c compiled.  What it accepts JSON.parse must accept too,
// as an array or object; what it refuses and JSON.parse accepts must be too
// deep or no container.  Prints TAP and the seed.

'use strict';

const { spawn } = require('child_process');
const { once } = require('events');

const DEPTH = 64;
const FLUSH = Buffer.alloc(4, 0xff);
const BATCH = 2000;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const [program, seconds = '3', seedText] = process.argv.slice(2);
const seed = seedText === undefined ? Date.now() % 2 ** 32 : Number(seedText);


// A generator that gives the same numbers for a seed (xorshift).

let state = (seed ^ 0x9e3779b9) >>> 0 || 1;

function below(n) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;

    return (state >>> 0) % n;
}

const pick = (list) => list[below(list.length)];
const chance = (n) => below(n) === 0;

const repeat = (n, make) => Array.from({ length: n }, make);


// Texts from JSON's grammar.

const BLANKS = ['', '', '', '', ' ', '\n', '\r\n', '\t', '   '];

const NUMBERS = ['0', '-0', '1', '-1', '12', '1.5', '-0.25', '1e5', '1E+5',
    '2e-3', '0.0e0', '1e999', '-1e999', '9007199254740993',
    '18446744073709551616', '0.' + '1'.repeat(40), '7'.repeat(400)];

const PIECES = ['a', 'echo', '\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r',
    '\\t', '\\u0000', '\\u00e9', '\\uD83D\\uDE00', '\\ud83d', '\\uDE00', 'é',
    '😀', '\u2028', '\ufeff', '\u00a0', '\x7f', '[', ']', '{', '}', ':', ',',
    '//', '\'', '_placeholder', '__proto__', ' '];

const blank = () => pick(BLANKS);
const string = () => `"${repeat(below(5), () => pick(PIECES)).join('')}"`;
const member = (depth) => string() + blank() + ':' + blank() + value(depth);

function list(open, close, item) {
    const items = repeat(below(4), () => blank() + item() + blank());

    return open + (items.join(',') || blank()) + close;
}

function value(depth) {
    switch (below(depth > 0 ? 9 : 6)) {
    case 0:
        return pick(['true', 'false', 'null']);
    case 1:
    case 2:
        return pick(NUMBERS);
    case 3:
    case 4:
    case 5:
        return string();
    case 6:
        return list('{', '}', () => member(depth - 1));
    default:
        return list('[', ']', () => value(depth - 1));
    }
}

function nested() {
    const n = chance(20) ? below(5000) : DEPTH - 3 + below(6);
    const kinds = repeat(n, () => chance(2));
    const open = kinds.map((k) => k ? '[' : '{"a":');
    const close = kinds.map((k) => k ? ']' : '}').reverse();

    return open.join('') + value(1) + close.join('');
}

function text() {
    if (chance(40)) {
        return nested();
    }

    if (chance(40)) {
        return blank() + value(1) + blank();
    }

    return blank() + pick([
        () => list('[', ']', () => value(3)),
        () => list('{', '}', () => member(3)),
    ])() + blank();
}


// Damage to them.

const BYTES = ['\v', '\f', '\0', '\x01', '\x1f', '\x80', '\xff', '\xc3',
    '\xed\xa0\x80', '\xc2\xa0', '\xef\xbb\xbf', '\xe2\x80\xa8', '\xc2\x85',
    '"', '\'', '\\', '\\u', '\\u12', '\\x41', '\\v', '\\0', '\\u 041', '[',
    ']', '{', '}', ',', ',,', ':', '::', '0', '00', '-', '+', '.', '.5', 'e',
    'E+', '1.', '1e', '0x1', '1_0', '1n', 'true', 'tru', 'nul', 'NaN',
    'Infinity', 'undefined', '/', '//', '/**/', '#', '[]', '{}', '[1]', '"a"',
    ' ', '\n', '\r', '\t'].map((s) => Buffer.from(s, 'latin1'));

function damage(buf) {
    const at = below(buf.length + 1);
    const end = Math.min(buf.length, at + 1 + below(4));
    const head = buf.subarray(0, at);

    switch (below(7)) {
    case 0:
        return head;
    case 1:
        return Buffer.concat([head, buf.subarray(end)]);
    case 2:
        return Buffer.concat([head, buf.subarray(at, end), buf.subarray(at)]);
    case 3:
        return Buffer.concat([buf, pick(BYTES)]);
    case 4:
        return Buffer.concat([head, Buffer.from([below(256)]),
            buf.subarray(at + 1)]);
    case 5:
        return Buffer.concat([head, pick(BYTES), buf.subarray(end)]);
    default:
        return Buffer.concat([head, pick(BYTES), buf.subarray(at)]);
    }
}

function sample() {
    let buf = Buffer.from(text());

    for (let n = chance(4) ? 0 : 1 + below(3); n > 0; n--) {
        buf = damage(buf);
    }

    return buf;
}


// The judgement.

function parse(buf) {
    let s;

    try {
        s = UTF8.decode(buf);
    } catch {
        return 'U';
    }

    try {
        const v = JSON.parse(s);

        if (v === null || typeof v !== 'object') {
            return 'scalar';
        }

        return depth(s) > DEPTH ? 'L' : Array.isArray(v) ? 'A' : 'O';

    } catch {
        return 'E';
    }
}

// By the text: a member that a later one replaces counts too.

function depth(s) {
    let now = 0;
    let most = 0;

    for (const c of s.replace(/"(?:[^"\\]|\\.)*"/gs, '')) {
        now += '[{'.includes(c) - ']}'.includes(c);
        most = Math.max(most, now);
    }

    return most;
}

const count = { A: 0, O: 0, E: 0, L: 0, U: 0, scalar: 0 };
const accepted = [];
const refused = [];

function judge(buf, got) {
    const want = parse(buf);

    count[got]++;

    if (got === want) {
        return;
    }

    if (want === 'scalar' && got === 'E') {
        count.scalar++;
        return;
    }

    if (want === 'E' && got === 'L') {
        return;
    }

    (got === 'A' || got === 'O' ? accepted : refused)
        .push(`# ${got}, JSON.parse: ${want}: `
              + JSON.stringify(buf.toString('latin1')));
}

async function ask(child, samples) {
    const out = [];

    for (const buf of samples) {
        const head = Buffer.alloc(4);
        head.writeUInt32LE(buf.length);
        out.push(head, buf);
    }

    out.push(FLUSH);
    child.stdin.write(Buffer.concat(out));

    let answers = '';

    while (answers.length < samples.length) {
        const [data] = await once(child.stdout, 'data');
        answers += data.toString('latin1');
    }

    return answers;
}

async function main() {
    const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    const end = Date.now() + seconds * 1000;
    let n = 0;

    exit.then(([code, signal]) => {
        if (code !== 0) {
            console.log(`Bail out! ${program}: ${signal || code}`);
            process.exit(1);
        }
    });

    while (Date.now() < end && !accepted.length && !refused.length) {
        const samples = repeat(BATCH, sample);
        const answers = await ask(child, samples);

        samples.forEach((buf, i) => judge(buf, answers[i]));
        n += BATCH;
    }

    child.stdin.end();
    await exit;

    const ok = (good, number, name) =>
        console.log(`${good ? '' : 'not '}ok ${number} - ${name}`);

    console.log(`# seed ${seed}, ${n} texts: ${JSON.stringify(count)}`);
    ok(!accepted.length, 1, 'nothing is accepted that JSON.parse refuses');
    ok(!refused.length, 2,
       'nothing is refused that JSON.parse accepts, unless too deep');
    ok(count.A && count.O && count.E && count.L && count.U && count.scalar, 3,
       'all kinds of texts were there');
    console.log([...accepted, ...refused].slice(0, 10).join('\n') + '\n1..3');

    process.exitCode = accepted.length || refused.length ? 1 : 0;
}

main();
